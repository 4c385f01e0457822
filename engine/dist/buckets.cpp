// Layout of buckets, and their reductions in order.
#include "engine/dist/buckets.h"

namespace spn::dist {

BucketLayout lay_out_buckets(const std::vector<BucketPiece>& pieces, std::size_t bytes) {
  check(bytes > 0, "buckets", "expected buckets of at least 1 byte, got 0");
  BucketLayout layout;
  layout.slots.resize(pieces.size());
  bool open = false;
  const auto close = [&] {
    auto& b = layout.buckets.back();
    b.flags = b.numel;
    b.numel += b.pieces;
    open = false;
  };
  for (std::size_t i = pieces.size(); i-- > 0;) {
    const BucketPiece& piece = pieces[i];
    check(is_floating(piece.dtype), "buckets", "expected floating pieces, got {}", name_of(piece.dtype));
    if (open && layout.buckets.back().dtype != piece.dtype) close();
    if (!open) {
      layout.buckets.push_back({.dtype = piece.dtype});
      open = true;
    }
    auto& b = layout.buckets.back();
    layout.slots[i] = {static_cast<int>(layout.buckets.size()) - 1, b.pieces++, b.numel};
    const auto align = static_cast<std::int64_t>(64 / size_of(piece.dtype));
    b.numel += (piece.numel + align - 1) / align * align;
    if (static_cast<std::size_t>(b.numel) * size_of(b.dtype) >= bytes) close();
  }
  if (open) close();
  return layout;
}

BucketReducer::BucketReducer(Comm& comm, const BucketLayout& layout, std::vector<View> buckets)
    : comm_(comm), buckets_(std::move(buckets)), pending_(buckets_.size()) {
  check(buckets_.size() == layout.buckets.size(), "buckets", "expected {} views, got {}", layout.buckets.size(),
        buckets_.size());
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    const auto& b = layout.buckets[i];
    check(buckets_[i].numel() == b.numel && buckets_[i].dtype == b.dtype, "buckets",
          "bucket {}: expected {} elements of {}, got {} of {}", i, b.numel, name_of(b.dtype), buckets_[i].numel(),
          name_of(buckets_[i].dtype));
    expected_.push_back(b.pieces);
  }
  missing_ = expected_;
  comm_.prepare_begin();
}

void BucketReducer::arrived(int bucket) {
  int& missing = missing_.at(static_cast<std::size_t>(bucket));
  check(missing > 0, "buckets", "bucket {} was already full; finish() the round first", bucket);
  --missing;
  begin_full();
  while (done_ < begun_ && pending_[done_]->test()) ++done_;
}

void BucketReducer::begin_full() {
  for (; begun_ < buckets_.size() && missing_[begun_] == 0; ++begun_)
    pending_[begun_] = comm_.begin_all_reduce(buckets_[begun_]);
}

void BucketReducer::finish() {
  begin_full();
  check(begun_ == buckets_.size(), "buckets", "bucket {} still misses {} pieces of {}", begun_,
        begun_ < missing_.size() ? missing_[begun_] : 0, begun_ < expected_.size() ? expected_[begun_] : 0);
  for (auto& p : pending_) {
    p->wait();
    p.reset();
  }
  missing_ = expected_;
  begun_ = done_ = 0;
}

}  // namespace spn::dist
