// The two passes.
#include "engine/train/micro_batch.h"

#include "engine/core/stopwatch.h"

namespace spn::train {
namespace {

// Adds the seconds since the last call to a counter.
class Lap {
 public:
  void add_to(double& seconds) {
    seconds += watch_.seconds();
    watch_ = Stopwatch();
  }

 private:
  Stopwatch watch_;
};

// Row ranges of the parts in the joined embeddings.
struct Rows {
  std::vector<std::int64_t> start, length;
};

std::vector<Tensor> values_of(const std::vector<Var>& vars) {
  std::vector<Tensor> out;
  for (const Var& v : vars) out.push_back(v.value());
  return out;
}

Rows rows_of(const std::vector<std::vector<Tensor>>& parts) {
  Rows rows;
  std::int64_t at = 0;
  for (const auto& p : parts) {
    check(!p.empty() && p.size() == parts[0].size(), "micro_batch", "expected {} heads from each part, got {}",
          parts[0].size(), p.size());
    for (const Tensor& t : p)
      check(t.ndim() >= 1 && t.dim(0) == p[0].dim(0), "micro_batch", "expected {} rows from each head, got {}",
            p[0].dim(0), t.shape().str());
    rows.start.push_back(at);
    rows.length.push_back(p[0].dim(0));
    at += p[0].dim(0);
  }
  return rows;
}

std::vector<Var> join(const std::vector<std::vector<Tensor>>& parts, const Rows& rows) {
  std::vector<Var> joined;
  for (std::size_t h = 0; h < parts[0].size(); ++h) {
    Shape shape = parts[0][h].shape();
    shape[0] = rows.start.back() + rows.length.back();
    const Tensor all = Tensor::empty(shape, parts[0][h].dtype(), parts[0][h].device());
    for (std::size_t i = 0; i < parts.size(); ++i) all.narrow(0, rows.start[i], rows.length[i]).copy_from(parts[i][h]);
    joined.emplace_back(all, true);
  }
  return joined;
}

// Backward of one part from its rows of the embeddings' gradients. Heads that the loss did not use have none.
void backward_part(const std::vector<Var>& heads, const std::vector<Var>& joined, std::int64_t start,
                   std::int64_t length) {
  std::vector<Var> roots;
  std::vector<Tensor> seeds;
  for (std::size_t h = 0; h < heads.size(); ++h) {
    if (!joined[h].grad()) continue;
    roots.push_back(heads[h]);
    seeds.push_back(joined[h].grad().narrow(0, start, length));
  }
  backward(roots, seeds);
}

}  // namespace

MicroBatchTimes accumulate_gradients(int count,
                                     const std::function<std::vector<Var>(int part, bool update_running)>& embed,
                                     const std::function<Var(const std::vector<Var>& joined)>& loss,
                                     const std::function<void()>& last_backward) {
  check(count >= 1, "micro_batch", "expected at least one part, got {}", count);
  const auto before_last = [&] {
    if (last_backward) last_backward();
  };
  MicroBatchTimes times;
  Lap lap;
  if (count == 1) {
    const Var value = loss(embed(0, true));
    lap.add_to(times.forward_s);
    before_last();
    backward(value);
    lap.add_to(times.backward_s);
    return times;
  }

  std::vector<std::vector<Tensor>> parts;
  for (int i = 0; i + 1 < count; ++i) {
    const NoGrad no_grad;
    parts.push_back(values_of(embed(i, true)));
  }
  std::vector<Var> kept = embed(count - 1, true);
  parts.push_back(values_of(kept));
  const Rows rows = rows_of(parts);
  const std::vector<Var> joined = join(parts, rows);
  parts.clear();
  Var value = loss(joined);
  lap.add_to(times.forward_s);
  backward(value);
  value = Var();
  backward_part(kept, joined, rows.start.back(), rows.length.back());
  kept.clear();
  lap.add_to(times.backward_s);

  for (int i = 0; i + 1 < count; ++i) {
    const auto at = static_cast<std::size_t>(i);
    const std::vector<Var> heads = embed(i, false);
    check(heads.size() == joined.size(), "micro_batch", "expected {} heads again, got {}", joined.size(), heads.size());
    lap.add_to(times.forward_s);
    if (i + 2 == count) before_last();
    backward_part(heads, joined, rows.start[at], rows.length[at]);
    lap.add_to(times.backward_s);
  }
  return times;
}

}  // namespace spn::train
