// Looks after communicators whose work goes on behind the host's back: when another rank or a way to it is lost, their
// kernels wait for ever, and the host with them. Ended they let go, all of them: what waits in one stream may stand
// behind another's.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace spn::dist {

// One communicator, between the thread that queues on it, the watch, and the thread that ends it.
class WatchedComm {
 public:
  // trouble: what has gone wrong meanwhile, empty if nothing. end: makes what it has on the device end at once, and may
  // itself return much later (NCCL waits until no captured step holds the communicator).
  WatchedComm(std::function<std::string()> trouble, std::function<void()> end)
      : trouble_(std::move(trouble)), end_(std::move(end)) {}
  WatchedComm(const WatchedComm&) = delete;
  WatchedComm& operator=(const WatchedComm&) = delete;

  // f has the communicator to itself. Throws once it is given up, also while it waits its turn.
  template <class F>
  void use(const char* where, F&& f) {
    const auto turn = take(where);
    f();
  }
  // Throws when it is given up.
  void check_health(const char* where) const;
  bool given_up() const { return given_up_; }

  // Of the watch. Nothing while it is used: who uses it looks himself.
  std::string look();
  // From now on every use throws; those who stand in one that asks check_health leave it.
  void give_up(const std::string& why);
  // Calls end, once nobody uses it, or after that many seconds all the same: who is still there is stuck, and only that
  // helps.
  void end(double patience);
  bool ended() const { return ended_; }

 private:
  std::unique_lock<std::timed_mutex> take(const char* where);

  std::function<std::string()> trouble_;
  std::function<void()> end_;
  std::timed_mutex mutex_;  // communicators are not for two threads at once
  std::atomic<bool> given_up_ = false, ended_ = false;
  std::string why_;  // written before given_up_
};

class Watch {
 public:
  struct Limits {
    double period = 0.1;  // seconds between two looks
    // The host has stood in one wait for the device that long: a lost rank of which no error came. 0: never.
    double wait = 600;
    double patience = 5;  // with who uses one that is to end
    double parting = 10;  // to wait for them to end when the watch goes; they go on without it then
  };
  // waiting: how long the host has been waiting for the device, 0 if it is not; from any thread. May be empty.
  Watch(std::function<double()> waiting, const Limits& limits);
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch();
  void add(std::shared_ptr<WatchedComm> comm);

 private:
  std::string trouble();  // of the first that has any
  void run();
  void end_all(const std::string& why);

  std::function<double()> waiting_;
  Limits limits_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<WatchedComm>> comms_;
  std::vector<std::thread> enders_;  // a thread each: one that does not end must not keep the next from it
  std::atomic<bool> leaving_ = false;
  std::thread thread_;
};

// SPN_RANK_TIMEOUT in seconds (0: never), or 600.
double rank_timeout();

}  // namespace spn::dist
