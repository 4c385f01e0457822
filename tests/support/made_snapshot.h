// A small made-up checkpoint, and files damaged on purpose.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "engine/ckpt/checkpoint.h"

namespace spn::test {

inline ckpt::Snapshot made_snapshot(std::int64_t step) {
  const auto ramp = [&](std::int64_t n, float first) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(first + static_cast<float>(i + step));
    return Tensor::from(v, {n});
  };
  ckpt::Snapshot s;
  s.state.step = step;
  s.state.epoch = step / 7;
  s.state.pairs_seen = step * 128;
  s.state.seed = 0xfedcba9876543210ull;
  s.state.global_batch = 128;
  s.state.pack_fingerprint = "abc \"quoted\" µ";
  s.state.spotniche_version = "0.1.0";
  s.state.extra = {{"skipped", "3"}, {"note", ""}};
  s.config_json = "{\"tokens\": 8}\n";
  s.model = {{"a.weight", ramp(300, 0.5F)}, {"a.bias", ramp(3, -1)}};
  s.ema = {{"a.weight", ramp(300, 0.25F)}, {"a.bias", ramp(3, -2)}};
  s.optimizer = {{"exp_avg.a.weight", ramp(300, 7)},
                 {"exp_avg.a.bias", ramp(3, 8)},
                 {"exp_avg_sq.a.weight", ramp(300, 9)},
                 {"exp_avg_sq.a.bias", ramp(3, 10)},
                 {"step", Tensor::from(std::vector<std::int64_t>{step}, {})}};
  return s;
}

inline void truncate_file(const std::string& path) {
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
}

inline void flip_bit(const std::string& path, std::uint64_t at) {
  std::fstream f(path, std::ios::in | std::ios::out | std::ios::binary);
  f.seekg(static_cast<std::streamoff>(at));
  const char c = static_cast<char>(f.get() ^ 1);
  f.seekp(static_cast<std::streamoff>(at));
  f.put(c);
}

}  // namespace spn::test
