// A communicator that counts what it is asked for, and can lose its ranks.
#pragma once

#include <cstdlib>
#include <limits>
#include <memory>

#include "engine/dist/comm.h"

namespace spn::test {

// Forwards, and counts collectives.
class CountingComm final : public dist::Comm {
 public:
  explicit CountingComm(dist::Comm& to) : to_(to) {}
  int collectives = 0;
  // Calls of check_health; those with a number in [lost_from, lost_to) throw.
  int health_asked = 0, lost_from = std::numeric_limits<int>::max(), lost_to = lost_from;
  int rank() const override { return to_.rank(); }
  int size() const override { return to_.size(); }
  const char* name() const override { return to_.name(); }
  void all_reduce(const View& v, dist::ReduceOp op) override {
    ++collectives;
    to_.all_reduce(v, op);
  }
  void prepare_begin() override { to_.prepare_begin(); }
  std::unique_ptr<dist::Pending> begin_all_reduce(const View& v) override {
    ++collectives;
    return to_.begin_all_reduce(v);
  }
  void all_gather(const View& in, const View& out) override {
    ++collectives;
    to_.all_gather(in, out);
  }
  void reduce_scatter(const View& in, const View& out) override {
    ++collectives;
    to_.reduce_scatter(in, out);
  }
  void broadcast(const View& v, int root) override {
    ++collectives;
    to_.broadcast(v, root);
  }
  void send(const View& v, int to) override { to_.send(v, to); }
  void recv(const View& v, int from) override { to_.recv(v, from); }
  void barrier() override {
    ++collectives;
    to_.barrier();
  }
  void check_health() override {
    if (const int n = health_asked++; n >= lost_from && n < lost_to) fail("counting", "a rank is lost, call {}", n);
    to_.check_health();
  }
  std::unique_ptr<dist::Comm> split(int color) override { return to_.split(color); }
  [[noreturn]] void abort(int status) override {
    to_.abort(status);
    std::abort();  // not reached
  }

 private:
  dist::Comm& to_;
};

}  // namespace spn::test
