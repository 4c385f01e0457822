// Every CPU kernel, by family file. table.cpp names them in the table.
#pragma once

#include "kernels/table.h"

namespace spn::kernels::cpu {

// runtime.cpp
void* alloc(std::size_t bytes);
void release(void* p, std::size_t bytes) noexcept;
void transfer(void* to, const void* from, std::size_t bytes);
void sync();
MemoryStats memory();
void reset_peak();

// elementwise.cpp
void unary_fwd(const UnaryFwd&);
void unary_bwd(const UnaryBwd&);
void binary(const Binary&);
void affine(const Affine&);
// copy.cpp
void copy(const Copy&);
// reduce.cpp
void reduce(const Reduce&);
// gemm.cpp
void gemm(const Gemm&);
// conv.cpp
void conv_fwd(const ConvFwd&);
void conv_bwd(const ConvBwd&);
// pool.cpp
void pool_fwd(const PoolFwd&);
void pool_bwd(const PoolBwd&);
// batch_norm.cpp
void batch_norm_stats(const BatchNormStats&);
void batch_norm_apply(const BatchNormApply&);
void batch_norm_bwd_stats(const BatchNormBwdStats&);
void batch_norm_bwd_apply(const BatchNormBwdApply&);
// layer_norm.cpp
void layer_norm_fwd(const LayerNormFwd&);
void layer_norm_bwd(const LayerNormBwd&);
// softmax.cpp
void softmax_fwd(const SoftmaxFwd&);
void softmax_bwd(const SoftmaxBwd&);
void cross_entropy_fwd(const CrossEntropyFwd&);
void cross_entropy_bwd(const CrossEntropyBwd&);
// l2_norm.cpp
void l2_norm_fwd(const L2NormFwd&);
void l2_norm_bwd(const L2NormBwd&);
// attention.cpp
void attention_fwd(const AttentionFwd&);
void attention_bwd(const AttentionBwd&);
// dropout.cpp
void dropout(const Dropout&);
// index.cpp
void gather_rows(const GatherRows&);
void scatter_add_rows(const ScatterAddRows&);
// image.cpp
void image_embed(const ImageEmbed&);
// contrastive_fwd.cpp, contrastive_bwd.cpp
void contrastive_fwd(const ContrastiveFwd&);
void contrastive_bwd(const ContrastiveBwd&);
// optim.cpp
void adamw(const AdamW&);
void sgd(const Sgd&);
void lerp(const Lerp&);
void sum_of_squares(const SumOfSquares&);

}  // namespace spn::kernels::cpu
