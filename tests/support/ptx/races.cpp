#include "tests/support/ptx/races.h"

#include <algorithm>

namespace spn::ptx {

bool Races::write_is_over(const Byte& b, const Moment& now) const {
  if (b.writer == kNobody) return true;
  if (b.writer_block != now.block) return between_ == Between::threads;
  if (b.writer == now.thread || b.writer_epoch < now.epoch) return true;
  return b.writer / 32 == now.thread / 32 && b.writer_time < now.known[b.writer % 32];
}

bool Races::reads_are_over(const Byte& b, const Moment& now) const {
  if (b.reader_warp == kNobody) return true;
  if (b.reader_warp == kBlocks) return false;
  if (b.reader_block != now.block) return between_ == Between::threads;
  if (b.reader_epoch < now.epoch) return true;
  if (b.reader_warp != now.thread / 32) return false;
  for (std::uint32_t lanes = b.reader_lanes & ~(1U << now.thread % 32); lanes != 0; lanes &= lanes - 1)
    if (b.reader_time >= now.known[__builtin_ctz(lanes)]) return false;
  return true;
}

// Readers that come before this one count no longer: what comes after this one comes after them.
void Races::note_read(Byte& b, const Moment& now) const {
  const std::uint32_t lane = 1U << now.thread % 32;
  if (reads_are_over(b, now)) {
    b.reader_block = now.block;
    b.reader_epoch = now.epoch;
    b.reader_time = now.time;
    b.reader_lanes = lane;
    b.reader_warp = static_cast<std::int16_t>(now.thread / 32);
  } else if (b.reader_warp == kBlocks || b.reader_block != now.block) {
    b.reader_warp = kBlocks;
  } else if (b.reader_warp != now.thread / 32) {
    b.reader_warp = kWarps;
  } else {
    b.reader_lanes |= lane;
    b.reader_time = std::max(b.reader_time, now.time);
  }
}

Races::Byte* Races::page(std::uint64_t number) {
  if (number != last_number_) {
    auto& bytes = pages_[number];
    if (bytes.empty()) bytes.resize(kPage);
    last_number_ = number;
    last_ = bytes.data();
  }
  return last_;
}

std::optional<Races::Conflict> Races::access(std::uint64_t at, std::size_t bytes, bool write, const Moment& now) {
  Byte* const in_page = page(at / kPage);
  const std::size_t first = at % kPage, here = std::min(bytes, kPage - first);
  for (std::size_t k = first; k < first + here; ++k) {
    Byte& b = in_page[k];
    if (!write_is_over(b, now)) return Conflict{b.writer_block, b.writer, true};
    if (!write) {
      note_read(b, now);
      continue;
    }
    if (!reads_are_over(b, now)) {
      const bool one = b.reader_warp >= 0 && (b.reader_lanes & (b.reader_lanes - 1)) == 0;
      return Conflict{b.reader_block, one ? b.reader_warp * 32 + __builtin_ctz(b.reader_lanes) : -1, false};
    }
    b.writer_block = now.block;
    b.writer_epoch = now.epoch;
    b.writer_time = now.time;
    b.writer = static_cast<std::int16_t>(now.thread);
    b.reader_warp = kNobody;
  }
  return here < bytes ? access(at + here, bytes - here, write, now) : std::nullopt;
}

}  // namespace spn::ptx
