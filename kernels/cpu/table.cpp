// The CPU table.
#include "kernels/cpu/kernels.h"

namespace spn::kernels {

const Table& cpu_table() {
  static const Table table = {
      .alloc = cpu::alloc,
      .release = cpu::release,
      .transfer = cpu::transfer,
      .sync = cpu::sync,
      .memory = cpu::memory,
      .reset_peak = cpu::reset_peak,
      .unary_fwd = cpu::unary_fwd,
      .unary_bwd = cpu::unary_bwd,
      .binary = cpu::binary,
      .affine = cpu::affine,
      .copy = cpu::copy,
      .reduce = cpu::reduce,
      .gemm = cpu::gemm,
      .conv_fwd = cpu::conv_fwd,
      .conv_bwd = cpu::conv_bwd,
      .pool_fwd = cpu::pool_fwd,
      .pool_bwd = cpu::pool_bwd,
      .batch_norm_stats = cpu::batch_norm_stats,
      .batch_norm_apply = cpu::batch_norm_apply,
      .batch_norm_bwd_stats = cpu::batch_norm_bwd_stats,
      .batch_norm_bwd_apply = cpu::batch_norm_bwd_apply,
      .layer_norm_fwd = cpu::layer_norm_fwd,
      .layer_norm_bwd = cpu::layer_norm_bwd,
      .softmax_fwd = cpu::softmax_fwd,
      .softmax_bwd = cpu::softmax_bwd,
      .l2_norm_fwd = cpu::l2_norm_fwd,
      .l2_norm_bwd = cpu::l2_norm_bwd,
      .cross_entropy_fwd = cpu::cross_entropy_fwd,
      .cross_entropy_bwd = cpu::cross_entropy_bwd,
      .attention_fwd = cpu::attention_fwd,
      .attention_bwd = cpu::attention_bwd,
      .dropout = cpu::dropout,
      .gather_rows = cpu::gather_rows,
      .scatter_add_rows = cpu::scatter_add_rows,
      .image_embed = cpu::image_embed,
      .contrastive_fwd = cpu::contrastive_fwd,
      .contrastive_bwd = cpu::contrastive_bwd,
      .adamw = cpu::adamw,
      .sgd = cpu::sgd,
      .lerp = cpu::lerp,
      .sum_of_squares = cpu::sum_of_squares,
  };
  return table;
}

}  // namespace spn::kernels
