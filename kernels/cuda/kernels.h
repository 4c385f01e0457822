// Every CUDA kernel launcher, by family file. table.cpp names them in the table.
#pragma once

#include "kernels/table.h"

namespace spn::kernels::cuda {

// memory_pools.cpp, runtime.cpp; in tests, the emulator
void* alloc(std::size_t bytes);
void release(void* p, std::size_t bytes) noexcept;
void transfer(void* to, const void* from, std::size_t bytes);
void sync();
MemoryStats memory();
void reset_peak();
void upload(void* to, const void* from, std::size_t bytes);
void await_uploads();
void uploads_follow();
void* download(const void* from, std::size_t bytes);
void collect(void* download, void* to);
void* native_stream();
void capture_begin();
void* capture_end();
void replay(void* graph);
void drop_graph(void* graph) noexcept;

// elementwise.cu
void unary_fwd(const UnaryFwd&);
void unary_bwd(const UnaryBwd&);
void binary(const Binary&);
void affine(const Affine&);
void copy(const Copy&);
// reduce.cu
void reduce(const Reduce&);
// gemm.cpp, on lib/gemm.cpp; thin_gemm.cu: long sums of few products. False: not one of those, nothing was done
void gemm(const Gemm&);
bool thin_gemm(const Gemm&);
// conv.cpp, on lib/conv.cpp
void conv_fwd(const ConvFwd&);
void conv_bwd(const ConvBwd&);
// pool.cu
void pool_fwd(const PoolFwd&);
void pool_bwd(const PoolBwd&);
// batch_norm.cu
void batch_norm_stats(const BatchNormStats&);
void batch_norm_apply(const BatchNormApply&);
void batch_norm_bwd_stats(const BatchNormBwdStats&);
void batch_norm_bwd_apply(const BatchNormBwdApply&);
// layer_norm.cu
void layer_norm_fwd(const LayerNormFwd&);
void layer_norm_bwd(const LayerNormBwd&);
// softmax.cu
void softmax_fwd(const SoftmaxFwd&);
void softmax_bwd(const SoftmaxBwd&);
void cross_entropy_fwd(const CrossEntropyFwd&);
void cross_entropy_bwd(const CrossEntropyBwd&);
// l2_norm.cu
void l2_norm_fwd(const L2NormFwd&);
void l2_norm_bwd(const L2NormBwd&);
// attention.cu
void attention_fwd(const AttentionFwd&);
void attention_bwd(const AttentionBwd&);
// dropout.cu
void dropout(const Dropout&);
// index.cu
void gather_rows(const GatherRows&);
void scatter_add_rows(const ScatterAddRows&);
// image.cu
void image_embed(const ImageEmbed&);
// contrastive_fwd.cu, contrastive_bwd.cu
void contrastive_fwd(const ContrastiveFwd&);
void contrastive_bwd(const ContrastiveBwd&);
// optim.cu
void adamw(const AdamW&);
void sgd(const Sgd&);
void lerp(const Lerp&);
void sum_of_squares(const SumOfSquares&);

}  // namespace spn::kernels::cuda
