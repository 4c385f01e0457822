// The CUDA table: kernels of ours and of the libraries in lib/.
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/range.h"

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
      .uploads_follow = cuda::uploads_follow,
      .download = cuda::download,
      .collect = cuda::collect,
      .native_stream = cuda::native_stream,
      .capture_begin = cuda::capture_begin,
      .capture_end = cuda::capture_end,
      .replay = cuda::replay,
      .drop_graph = cuda::drop_graph,
      .unary_fwd = cuda::Named<cuda::unary_fwd>::entry,
      .unary_bwd = cuda::Named<cuda::unary_bwd>::entry,
      .binary = cuda::Named<cuda::binary>::entry,
      .affine = cuda::Named<cuda::affine>::entry,
      .copy = cuda::Named<cuda::copy>::entry,
      .reduce = cuda::Named<cuda::reduce>::entry,
      .gemm = cuda::Named<cuda::gemm>::entry,
      .conv_fwd = cuda::Named<cuda::conv_fwd>::entry,
      .conv_bwd = cuda::Named<cuda::conv_bwd>::entry,
      .pool_fwd = cuda::Named<cuda::pool_fwd>::entry,
      .pool_bwd = cuda::Named<cuda::pool_bwd>::entry,
      .batch_norm_stats = cuda::Named<cuda::batch_norm_stats>::entry,
      .batch_norm_apply = cuda::Named<cuda::batch_norm_apply>::entry,
      .batch_norm_bwd_stats = cuda::Named<cuda::batch_norm_bwd_stats>::entry,
      .batch_norm_bwd_apply = cuda::Named<cuda::batch_norm_bwd_apply>::entry,
      .layer_norm_fwd = cuda::Named<cuda::layer_norm_fwd>::entry,
      .layer_norm_bwd = cuda::Named<cuda::layer_norm_bwd>::entry,
      .softmax_fwd = cuda::Named<cuda::softmax_fwd>::entry,
      .softmax_bwd = cuda::Named<cuda::softmax_bwd>::entry,
      .l2_norm_fwd = cuda::Named<cuda::l2_norm_fwd>::entry,
      .l2_norm_bwd = cuda::Named<cuda::l2_norm_bwd>::entry,
      .cross_entropy_fwd = cuda::Named<cuda::cross_entropy_fwd>::entry,
      .cross_entropy_bwd = cuda::Named<cuda::cross_entropy_bwd>::entry,
      .attention_fwd = cuda::Named<cuda::attention_fwd>::entry,
      .attention_bwd = cuda::Named<cuda::attention_bwd>::entry,
      .dropout = cuda::Named<cuda::dropout>::entry,
      .gather_rows = cuda::Named<cuda::gather_rows>::entry,
      .scatter_add_rows = cuda::Named<cuda::scatter_add_rows>::entry,
      .image_embed = cuda::Named<cuda::image_embed>::entry,
      .contrastive_fwd = cuda::Named<cuda::contrastive_fwd>::entry,
      .contrastive_bwd = cuda::Named<cuda::contrastive_bwd>::entry,
      .adamw = cuda::Named<cuda::adamw>::entry,
      .sgd = cuda::Named<cuda::sgd>::entry,
      .lerp = cuda::Named<cuda::lerp>::entry,
      .sum_of_squares = cuda::Named<cuda::sum_of_squares>::entry,
  };
  return &table;
}

}  // namespace spn::kernels
