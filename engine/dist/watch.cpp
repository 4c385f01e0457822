#include "engine/dist/watch.h"

#include <chrono>
#include <cstdlib>

#include "engine/core/check.h"
#include "engine/core/log.h"
#include "engine/core/stopwatch.h"

namespace spn::dist {
namespace {

using namespace std::chrono_literals;
constexpr auto kTurn = 50ms;  // how often who waits for his turn looks whether there is one to come

}  // namespace

void WatchedComm::check_health(const char* where) const {
  if (given_up_)
    fail(where, "the GPUs of this job lost each other: {}; start it again from its last checkpoint (--resume auto)",
         why_);
}

std::unique_lock<std::timed_mutex> WatchedComm::take(const char* where) {
  std::unique_lock turn(mutex_, std::defer_lock);
  do check_health(where);
  while (!turn.try_lock_for(kTurn));
  check_health(where);  // given up while the turn came
  return turn;
}

std::string WatchedComm::look() {
  const std::unique_lock turn(mutex_, std::try_to_lock);
  return turn && !given_up_ ? trouble_() : std::string();
}

void WatchedComm::give_up(const std::string& why) {
  if (given_up_) return;
  why_ = why;
  given_up_ = true;
}

void WatchedComm::end(double patience) {
  {
    // who gets a turn from now on sees given_up_ and leaves without touching the communicator
    const std::unique_lock turn(mutex_, std::chrono::duration<double>(patience));
  }
  end_();
  ended_ = true;
}

Watch::Watch(std::function<double()> waiting, const Limits& limits) : waiting_(std::move(waiting)), limits_(limits) {
  thread_ = std::thread([this] { run(); });
}

Watch::~Watch() {
  leaving_ = true;
  thread_.join();
  const Stopwatch parting;
  for (std::size_t i = 0; i < enders_.size(); ++i) {
    while (!comms_[i]->ended() && parting.seconds() < limits_.parting) std::this_thread::sleep_for(1ms);
    if (comms_[i]->ended())
      enders_[i].join();
    else
      enders_[i].detach();  // it holds its communicator; the process ends soon
  }
}

void Watch::add(std::shared_ptr<WatchedComm> comm) {
  const std::lock_guard lock(mutex_);
  comms_.push_back(std::move(comm));
}

void Watch::run() {
  while (!leaving_) {
    std::this_thread::sleep_for(std::chrono::duration<double>(limits_.period));
    const std::lock_guard lock(mutex_);
    if (const std::string why = trouble(); !why.empty()) return end_all(why);
  }
}

std::string Watch::trouble() {
  for (const auto& comm : comms_)
    if (std::string why = comm->look(); !why.empty()) return why;
  if (waiting_ && limits_.wait > 0 && waiting_() > limits_.wait)
    return fmt::format(
        "the GPU has not come to an end for {} s, so another rank is lost or far behind "
        "(SPN_RANK_TIMEOUT=SECONDS waits longer, 0 for ever)",
        limits_.wait);
  return {};
}

void Watch::end_all(const std::string& why) {
  for (const auto& comm : comms_) comm->give_up(why);
  log::warn("nccl: {}", why);
  for (const auto& comm : comms_) enders_.emplace_back([comm, patience = limits_.patience] { comm->end(patience); });
}

double rank_timeout() {
  const char* text = std::getenv("SPN_RANK_TIMEOUT");
  if (text == nullptr || *text == 0) return Watch::Limits{}.wait;
  char* end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (*end != 0 || !(seconds >= 0))
    fail_usage("nccl", "SPN_RANK_TIMEOUT: expected seconds, or 0 for no limit, got '{}'", text);
  return seconds;
}

}  // namespace spn::dist
