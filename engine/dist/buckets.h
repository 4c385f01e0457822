// Bucketed all-reduce: many small buffers are joined in a few flat ones, whose reductions begin as soon as they are
// full and run while the rest is still being computed. Plain memory and views: who fills the buckets is not known here.
#pragma once

#include <memory>
#include <vector>

#include "engine/dist/comm.h"

namespace spn::dist {

// Where each piece lies. Pieces are laid out from the last to the first (backward passes finish in that order); a
// bucket holds one dtype, whole pieces, each starting on 64 bytes, and ends with one element a piece: the flags.
struct BucketLayout {
  struct Slot {
    int bucket = 0;
    int place = 0;            // among the pieces of its bucket
    std::int64_t offset = 0;  // in elements
  };
  struct Bucket {
    DType dtype = DType::f32;
    int pieces = 0;
    std::int64_t flags = 0;  // offset of the flags, in elements
    std::int64_t numel = 0;  // with the flags
  };
  std::vector<Slot> slots;  // as the pieces
  std::vector<Bucket> buckets;
};

struct BucketPiece {
  std::int64_t numel = 0;
  DType dtype = DType::f32;
};

// A bucket is closed when it holds `bytes` or more; a piece is never split.
BucketLayout lay_out_buckets(const std::vector<BucketPiece>& pieces, std::size_t bytes);

// Sums buckets over ranks. Begins them strictly in order, which all ranks share: a bucket that is full early waits for
// those before it.
class BucketReducer {
 public:
  // One contiguous view a bucket; the memory must outlive the reducer. Collective.
  BucketReducer(Comm& comm, const BucketLayout& layout, std::vector<View> buckets);

  // One more piece of the bucket is in place. Begins what may begin, and lets the library progress.
  void arrived(int bucket);
  // All pieces are in place: waits for the sums and makes ready for the next round.
  void finish();

 private:
  void begin_full();

  Comm& comm_;
  std::vector<View> buckets_;
  std::vector<int> expected_, missing_;
  std::vector<std::unique_ptr<Pending>> pending_;
  std::size_t begun_ = 0, done_ = 0;
};

}  // namespace spn::dist
