#include "engine/train/run_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <string_view>

#include "engine/core/check.h"
#include "engine/core/file.h"
#include "engine/core/json.h"
#include "engine/core/log.h"
#include "engine/train/progress.h"

namespace spn::train {
namespace {

namespace fs = std::filesystem;
constexpr const char* kWhere = "run log";

double now_s() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

std::string utc_time() {
  const std::time_t t = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&t, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

// JSON has no NaN: null.
std::string number(double x, int digits) { return std::isfinite(x) ? fmt::format("{:.{}g}", x, digits) : "null"; }

std::string line_of(const Metrics& m) {
  std::string s = fmt::format(R"({{"step":{},"epoch":{},"pairs_seen":{})", m.step, m.epoch, m.pairs_seen);
  const auto add = [&](const char* key, double x, int digits) {
    s += fmt::format(",\"{}\":{}", key, number(x, digits));
  };
  add("loss", m.loss, 9);
  add("loss_spot", m.loss_spot, 9);
  add("loss_niche", m.loss_niche, 9);
  add("loss_cross", m.loss_cross, 9);
  add("acc_spot", m.acc_spot, 9);
  add("acc_niche", m.acc_niche, 9);
  add("acc_cross", m.acc_cross, 9);
  add("lr", m.lr, 9);
  add("weight_decay", m.weight_decay, 9);
  add("grad_norm", m.grad_norm, 9);
  add("pairs_per_s", m.pairs_per_s, 6);
  add("step_s", m.step_s, 6);
  add("data_s", m.data_s, 6);
  add("forward_s", m.forward_s, 6);
  add("backward_s", m.backward_s, 6);
  add("comm_s", m.comm_s, 6);
  add("optimizer_s", m.optimizer_s, 6);
  return s + fmt::format(",\"mem_bytes\":{}}}\n", m.mem_bytes);
}

// A file that grows by whole lines: each is one write, so that a reader or a kill never sees a part of one.
class Lines {
 public:
  explicit Lines(std::string path)
      : path_(std::move(path)), fd_(files::open_file(path_, O_WRONLY | O_CREAT | O_APPEND)) {}
  void add(std::string_view line) {
    const off_t before = ::lseek(fd_.get(), 0, SEEK_END);
    try {
      files::write_all(fd_, path_, line.data(), line.size());
    } catch (const Error&) {
      // no half line
      if (before < 0 || ::ftruncate(fd_.get(), before) != 0) log::warn("the last line of {} is incomplete", path_);
      throw;
    }
  }
  void sync() { ::fdatasync(fd_.get()); }

 private:
  std::string path_;
  files::Fd fd_;
};

// Only whole lines of steps up to `last` stay. Steps that have no line, as after a disk that lost some, are told.
void cut_metrics(const std::string& path, std::int64_t last) {
  if (!fs::exists(path)) {
    if (last > 0) log::warn("{}: the lines of steps 1 to {} are missing: there is no such file", path, last);
    return;
  }
  const std::string text = files::read_text(path);
  std::string kept;
  std::int64_t later = 0, broken = 0, reached = 0, missing = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    const std::string_view line = std::string_view(text).substr(at, end == std::string::npos ? end : end + 1 - at);
    at += line.size();
    const auto json = try_json(line);
    const bool whole =
        end != std::string::npos && json.is_object() && json.contains("step") && json["step"].is_number_integer();
    if (!whole) {
      ++broken;
      continue;
    }
    const auto step = json["step"].get<std::int64_t>();
    if (step > last) {
      ++later;
      continue;
    }
    kept += line;
    missing += std::max<std::int64_t>(0, step - reached - 1);
    reached = std::max(reached, step);
  }
  missing += std::max<std::int64_t>(0, last - reached);
  if (missing > 0) log::warn("{}: {} of the steps up to {} have no line, and are not run again", path, missing, last);
  if (later + broken == 0) return;
  files::replace_text(path, kept);
  if (later > 0) log::info("{}: {} lines after step {} are cut off; those steps are run again", path, later, last);
  if (broken > 0) log::info("{}: {} broken lines are taken out", path, broken);
}

// A line that a kill left half written would run into the next one.
void cut_half_line(const std::string& path) {
  if (!fs::exists(path)) return;
  const std::string text = files::read_text(path);
  if (text.empty() || text.back() == '\n') return;
  files::replace_text(path, text.substr(0, text.rfind('\n') + 1));
  log::info("{}: its last line was broken, and is taken out", path);
}

}  // namespace

struct RunLog::Impl {
  Impl(const std::string& dir, std::int64_t total_steps)
      : run_dir(dir),
        metrics(dir + "/metrics.jsonl"),
        events(dir + "/events.jsonl"),
        terminal(::isatty(STDERR_FILENO) == 1),
        progress(terminal, total_steps),
        total(total_steps) {}

  // Log messages after the redrawn line begin on a line of their own.
  void end_line() {
    if (open_line) std::fputc('\n', stderr);
    open_line = false;
  }
  void show(const std::string& text, bool last) {
    if (!terminal) {
      log::info("{}", text);
      return;
    }
    std::fprintf(stderr, "\r%s\x1b[K", text.c_str());
    open_line = true;
    if (last) end_line();
    std::fflush(stderr);
  }

  std::string run_dir;
  Lines metrics, events;
  bool terminal, open_line = false;
  Progress progress;
  std::int64_t total;
};

RunLog::RunLog(const std::string& run_dir, bool writes, std::int64_t resume_step, std::int64_t total_steps)
    : run_dir_(run_dir) {
  if (!writes) return;
  std::error_code error;
  fs::create_directories(run_dir, error);
  if (error) fail_data(kWhere, "cannot make the folder {}: {}", run_dir, error.message());
  const std::string metrics = run_dir + "/metrics.jsonl";
  if (resume_step >= 0) {
    cut_metrics(metrics, resume_step);
    cut_half_line(run_dir + "/events.jsonl");
  } else if (fs::exists(metrics) && fs::file_size(metrics) > 0) {
    fail_usage(kWhere, "{} holds a run already; go on with --resume auto, or give another --output", run_dir);
  }
  impl_ = std::make_unique<Impl>(run_dir, total_steps);
}

namespace {

std::string event_line(const std::string& kind, const std::map<std::string, EventValue>& fields) {
  nlohmann::ordered_json j;
  j["event"] = kind;
  j["time"] = utc_time();
  for (const auto& [key, value] : fields) std::visit([&, &k = key](const auto& v) { j[k] = v; }, value);
  // an error's text may quote bytes of a broken file: they are replaced, not refused
  return lenient_json_text(j) + "\n";
}

bool append(Lines& events, const std::string& line) {
  try {
    events.add(line);
    return true;
  } catch (const Error& e) {
    log::warn("{}; lost: {}", e.what(),
              line.substr(0, 300));  // an event often tells of a failure: it must not hide that one
    return false;
  }
}

}  // namespace

RunLog::~RunLog() {
  if (impl_) impl_->end_line();
}

void RunLog::write_config(const std::string& text) {
  if (impl_) files::replace_text(impl_->run_dir + "/config.cfg", text);
}

void RunLog::metrics(const Metrics& m) {
  if (!impl_) return;
  impl_->metrics.add(line_of(m));
  if (const auto text = impl_->progress.update(m, now_s())) impl_->show(*text, m.step >= impl_->total);
}

void RunLog::event(const std::string& kind, const std::map<std::string, EventValue>& fields) {
  if (!impl_) return;
  impl_->end_line();
  if (!append(impl_->events, event_line(kind, fields))) return;
  if (kind == "skipped_step") return;  // may come at every step
  impl_->metrics.sync();
  impl_->events.sync();
}

void RunLog::error(int rank, const std::string& message) {
  const std::map<std::string, EventValue> fields = {{"rank", std::int64_t{rank}}, {"message", message}};
  if (impl_) {
    event("error", fields);
    return;
  }
  const std::string line = event_line("error", fields);
  try {
    Lines events(run_dir_ + "/events.jsonl");
    if (append(events, line)) events.sync();
  } catch (const Error& e) {
    log::warn("{}; lost: {}", e.what(), line.substr(0, 300));
  }
}

}  // namespace spn::train
