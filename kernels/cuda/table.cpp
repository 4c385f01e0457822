// The CUDA table: kernels of ours and of the libraries in lib/.
#include "kernels/cuda/kernels.h"

namespace spn::kernels {

const Table* cuda_table() {
  static const Table table = {
      .alloc = cuda::alloc,
      .release = cuda::release,
      .transfer = cuda::transfer,
      .sync = cuda::sync,
      .memory = cuda::memory,
      .reset_peak = cuda::reset_peak,
      .upload = cuda::upload,
      .await_uploads = cuda::await_uploads,
      .native_stream = cuda::native_stream,
      .capture_begin = cuda::capture_begin,
      .capture_end = cuda::capture_end,
      .replay = cuda::replay,
      .drop_graph = cuda::drop_graph,
      .unary_fwd = cuda::unary_fwd,
      .unary_bwd = cuda::unary_bwd,
      .binary = cuda::binary,
      .affine = cuda::affine,
      .copy = cuda::copy,
      .reduce = cuda::reduce,
      .gemm = cuda::gemm,
      .conv_fwd = cuda::conv_fwd,
      .conv_bwd = cuda::conv_bwd,
      .pool_fwd = cuda::pool_fwd,
      .pool_bwd = cuda::pool_bwd,
      .batch_norm_stats = cuda::batch_norm_stats,
      .batch_norm_apply = cuda::batch_norm_apply,
      .batch_norm_bwd_stats = cuda::batch_norm_bwd_stats,
      .batch_norm_bwd_apply = cuda::batch_norm_bwd_apply,
      .layer_norm_fwd = cuda::layer_norm_fwd,
      .layer_norm_bwd = cuda::layer_norm_bwd,
      .softmax_fwd = cuda::softmax_fwd,
      .softmax_bwd = cuda::softmax_bwd,
      .l2_norm_fwd = cuda::l2_norm_fwd,
      .l2_norm_bwd = cuda::l2_norm_bwd,
      .cross_entropy_fwd = cuda::cross_entropy_fwd,
      .cross_entropy_bwd = cuda::cross_entropy_bwd,
      .attention_fwd = cuda::attention_fwd,
      .attention_bwd = cuda::attention_bwd,
      .dropout = cuda::dropout,
      .gather_rows = cuda::gather_rows,
      .scatter_add_rows = cuda::scatter_add_rows,
      .image_embed = cuda::image_embed,
      .contrastive_fwd = cuda::contrastive_fwd,
      .contrastive_bwd = cuda::contrastive_bwd,
      .adamw = cuda::adamw,
      .sgd = cuda::sgd,
      .lerp = cuda::lerp,
      .sum_of_squares = cuda::sum_of_squares,
  };
  return &table;
}

}  // namespace spn::kernels
