#include "tests/support/emulator/nccl.h"

#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/dist/comm.h"
#include "engine/dist/view_check.h"
#include "tests/support/emulator/emulator.h"

namespace spn::emulator {
namespace {
Side g_side = Side::early;
int g_polls = -1;
CommCounts g_counts;
Observer g_observer;
}  // namespace

void set_side(Side side) { g_side = side; }
void set_polls(int polls) { g_polls = polls; }
CommCounts comm_counts() { return g_counts; }
void set_observer(Observer observer) { g_observer = std::move(observer); }

}  // namespace spn::emulator

namespace spn::dist {
namespace {

using emulator::g_counts;

bool on_host(const View& v) { return v.device.type != DeviceType::cuda; }

// The device's memory as the host communicator takes it.
View as_host(const char* where, const View& v) {
  const auto memory = emulator::memory_around(v.data);
  const auto* begin = static_cast<const std::byte*>(v.data);
  check(v.numel() == 0 || (memory && begin + v.bytes() <= memory->data() + memory->size()), where,
        "expected memory of the device");
  View host = v;
  host.device = Device{};
  return host;
}

void refuse_bf16(const char* where, const View& v) {
  check(v.dtype != DType::bf16, where, "sums of bf16 over ranks are not offered; widen to f32 first");
}

// Host memory will be gone, or hold something else, when the step is replayed; and a replay makes no communicator.
void refuse_capture(const char* where) { check(!emulator::recording(), where, "a captured step talks over the host"); }

// Queues work on these views in the order of the device's.
template <class F>
void in_order(const char* where, std::initializer_list<View> views, F&& f) {
  std::vector<View> host;
  for (const View& v : views) host.push_back(as_host(where, v));
  if (emulator::recording()) ++g_counts.recorded;
  emulator::queue([host, f] {
    for (const View& v : host) emulator::touch(&v.data, sizeof v.data);
    ++g_counts.collectives;
    f(host);
  });
}

// The second stream with its communicator: sums in the order in which they were begun.
class SideStream {
 public:
  explicit SideStream(Comm& host) : link_(host.split(0)) {}

  struct Sum {
    View view;
    bool recorded, queued = false;
    int asked = 0;
  };
  std::shared_ptr<Sum> begin(const View& v) {
    as_host("begin_all_reduce", v);
    underway_.push_back(std::make_shared<Sum>(Sum{v, emulator::recording()}));
    const auto sum = underway_.back();
    if (emulator::g_side == emulator::Side::early) queue_up_to(*sum);
    return sum;
  }
  // As the device comes to it: all sums up to this one.
  void queue_up_to(const Sum& last) {
    while (!last.queued) {
      const auto sum = underway_.front();
      check(sum->recorded == emulator::recording(), "begin_all_reduce",
            "a sum is begun {} a captured step and awaited {} it", sum->recorded ? "inside" : "outside",
            sum->recorded ? "outside" : "inside");
      underway_.pop_front();
      sum->queued = true;
      in_order("begin_all_reduce", {sum->view}, [link = link_](const std::vector<View>& v) {
        ++g_counts.sums;
        if (emulator::g_observer.before) emulator::g_observer.before(v[0]);
        link->all_reduce(v[0]);
        if (emulator::g_observer.after) emulator::g_observer.after(v[0]);
      });
    }
  }

 private:
  std::shared_ptr<Comm> link_;  // a graph may outlive this
  std::deque<std::shared_ptr<Sum>> underway_;
};

class Begun final : public Pending {
 public:
  Begun(std::shared_ptr<SideStream> side, std::shared_ptr<SideStream::Sum> sum)
      : side_(std::move(side)), sum_(std::move(sum)) {}
  Begun(const Begun&) = delete;
  Begun& operator=(const Begun&) = delete;
  ~Begun() override {
    try {
      wait();
    } catch (...) {  // the error that came between begin and wait says more
    }
  }
  bool test() override {
    const bool may_ask = emulator::g_polls >= 0 && !emulator::recording();
    if (sum_ && may_ask && sum_->asked++ >= emulator::g_polls) wait();
    ++(sum_ ? g_counts.not_yet : g_counts.done);
    return !sum_;
  }
  void wait() override {
    if (const auto sum = std::exchange(sum_, nullptr)) side_->queue_up_to(*sum);
  }

 private:
  std::shared_ptr<SideStream> side_;
  std::shared_ptr<SideStream::Sum> sum_;  // null: waited for
};

class EmulatedNccl final : public Comm {
 public:
  EmulatedNccl(Comm* host, std::unique_ptr<Comm> owned)
      : owned_(std::move(owned)), host_(host != nullptr ? *host : *owned_), link_(host_.split(0)) {
    refuse_capture("nccl");
  }

  int rank() const override { return host_.rank(); }
  int size() const override { return host_.size(); }
  const char* name() const override { return "nccl"; }

  void all_reduce(const View& v, ReduceOp op) override {
    if (at_host("all_reduce", v)) return host_.all_reduce(v, op);
    require_contiguous("all_reduce", v);
    refuse_bf16("all_reduce", v);
    in_order("all_reduce", {v}, [link = link_, op](const auto& h) { link->all_reduce(h[0], op); });
  }
  void prepare_begin() override {
    refuse_capture("prepare_begin");
    host_.prepare_begin();
    if (!side_) side_ = std::make_shared<SideStream>(host_);
  }
  std::unique_ptr<Pending> begin_all_reduce(const View& v) override {
    if (at_host("begin_all_reduce", v)) return host_.begin_all_reduce(v);
    require_contiguous("begin_all_reduce", v);
    refuse_bf16("begin_all_reduce", v);
    check(side_ != nullptr, "begin_all_reduce", "prepare_begin was not called");
    return std::make_unique<Begun>(side_, side_->begin(v));
  }
  void all_gather(const View& in, const View& out) override {
    if (at_host("all_gather", in)) return host_.all_gather(in, out);
    require_rows("all_gather", in, out, size());
    in_order("all_gather", {in, out}, [link = link_](const auto& h) { link->all_gather(h[0], h[1]); });
  }
  void reduce_scatter(const View& in, const View& out) override {
    if (at_host("reduce_scatter", in)) return host_.reduce_scatter(in, out);
    require_rows("reduce_scatter", out, in, size());
    refuse_bf16("reduce_scatter", in);
    in_order("reduce_scatter", {in, out}, [link = link_](const auto& h) { link->reduce_scatter(h[0], h[1]); });
  }
  void broadcast(const View& v, int root) override {
    if (at_host("broadcast", v)) return host_.broadcast(v, root);
    require_contiguous("broadcast", v);
    in_order("broadcast", {v}, [link = link_, root](const auto& h) { link->broadcast(h[0], root); });
  }
  void send(const View& v, int to) override {
    if (at_host("send", v)) return host_.send(v, to);
    require_contiguous("send", v);
    in_order("send", {v}, [link = link_, to](const auto& h) { link->send(h[0], to); });
  }
  void recv(const View& v, int from) override {
    if (at_host("recv", v)) return host_.recv(v, from);
    require_contiguous("recv", v);
    in_order("recv", {v}, [link = link_, from](const auto& h) { link->recv(h[0], from); });
  }
  void barrier() override {
    refuse_capture("barrier");
    host_.barrier();
  }
  void check_health() override { host_.check_health(); }
  double blocked_seconds() const override { return host_.blocked_seconds(); }
  std::unique_ptr<Comm> split(int color) override {
    refuse_capture("split");
    return std::make_unique<EmulatedNccl>(nullptr, host_.split(color));
  }
  void abort(int status) override { host_.abort(status); }

 private:
  static bool at_host(const char* where, const View& v) {
    if (!on_host(v)) return false;
    refuse_capture(where);
    return true;
  }

  std::unique_ptr<Comm> owned_;
  Comm& host_;
  std::shared_ptr<Comm> link_;        // shared with captured steps
  std::shared_ptr<SideStream> side_;  // from prepare_begin on
};

}  // namespace

std::unique_ptr<Comm> make_nccl(Comm& host, void*, std::function<double()>) {
  return std::make_unique<EmulatedNccl>(&host, nullptr);
}
std::string nccl_library() { return "NCCL emulated on the host"; }

}  // namespace spn::dist
