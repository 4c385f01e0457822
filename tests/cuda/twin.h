// One call, on the CPU and on the CUDA device, compared element by element. Linked with the emulator, the device is
// the host (tests/support/emulator), and every call runs with threads forwards, backwards and shuffled.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "kernels/table.h"
#include "tests/support/tensors.h"

namespace spn::test {

inline constexpr DType kFloats[] = {DType::f32, DType::bf16, DType::f64};
inline constexpr Device kGpu{DeviceType::cuda, 0};

// Orders that the device can be asked for: one on a GPU, three in the emulator.
int device_orders();
void use_order(int order);

class Twin : public testing::Test {
 protected:
  // Skips where there is no GPU; with SPN_REQUIRE_CUDA=1 that is a failure.
  void SetUp() override;

  // call(at, outputs): at(t) is t on the device at hand; outputs begin as NaN (0x7f bytes in integers) there.
  struct Out {
    Shape shape;
    DType dtype = DType::f32;
    std::int64_t reduction = 1;  // for the tolerance
    bool channels_last = false;
  };
  template <class F>
  std::vector<Tensor> compare_all(F&& call, const std::vector<Out>& outs) {
    const auto on = [&](Device device) {
      std::vector<Tensor> t;
      for (const Out& o : outs) t.push_back(poisoned(o, device));
      call([device](const Tensor& v) { return v ? v.to(device) : v; }, t);
      return t;
    };
    const std::vector<Tensor> want = on(Device{});
    for (int order = 0; order < device_orders(); ++order) {
      use_order(order);
      const std::vector<Tensor> got = on(kGpu);
      for (std::size_t i = 0; i < outs.size(); ++i)
        EXPECT_TRUE(close(got[i].to(Device{}), want[i], tolerance(outs[i].dtype, outs[i].reduction)))
            << "output " << i << ", " << name_of(outs[i].dtype) << " " << outs[i].shape.str() << ", order " << order;
    }
    use_order(0);
    return want;
  }
  // One output.
  template <class F>
  Tensor compare(F&& call, const Shape& shape, DType dtype, std::int64_t reduction = 1) {
    return compare_all([&](const auto& at, const std::vector<Tensor>& t) { call(at, t[0]); },
                       {{shape, dtype, reduction}})[0];
  }

  static Tensor poisoned(const Out& o, Device device);
};

}  // namespace spn::test
