// What a call of a kernel has to do at least: operations of products and bytes moved. `inspect --model` adds it up
// before anything runs, `--profile` holds times against it.
#pragma once

#include <span>

#include "kernels/args/attention.h"
#include "kernels/args/contrastive.h"
#include "kernels/args/conv.h"
#include "kernels/args/gemm.h"
#include "kernels/args/index.h"
#include "kernels/args/optim.h"

namespace spn::kernels {

struct Work {
  double flops = 0;  // of matrix products, convolutions, attention and the loss; a multiply-add is two
  double bytes = 0;  // read and written: each element of each view once, unless bytes_of says otherwise below
  Work& operator+=(const Work& o) {
    flops += o.flops;
    bytes += o.bytes;
    return *this;
  }
};

template <class A>
double flops_of(const A&) {
  return 0;
}
double flops_of(const Gemm& a);
double flops_of(const ConvFwd& a);
double flops_of(const ConvBwd& a);
double flops_of(const AttentionFwd& a);
double flops_of(const AttentionBwd& a);  // the logits are computed again
double flops_of(const ContrastiveFwd& a);
double flops_of(const ContrastiveBwd& a);  // the logits are computed again

// Absent views are fine. What is broadcast counts once.
double bytes_of_views(std::span<const View* const> views);
template <class A>
double bytes_of(const A& a) {
  const auto views = a.views();
  return bytes_of_views(views);
}
double bytes_of(const ConvBwd& a);  // what each of its products reads and writes; dx both ways where it is added to
double bytes_of(const AttentionBwd& a);  // without o: its product with d_o is that of the weights with theirs
double bytes_of(const GatherRows& a);
double bytes_of(const ScatterAddRows& a);
double bytes_of(const AdamW& a);
double bytes_of(const Sgd& a);
double bytes_of(const Lerp& a);
double bytes_of(const SumOfSquares& a);

template <class A>
Work work_of(const A& a) {
  return {flops_of(a), bytes_of(a)};
}

}  // namespace spn::kernels
