// Two accesses to a byte, one of them a write, need an order: the same thread, a barrier of the block between, or a
// chain of bar.warp.sync that both lanes took part in (PTX ISA: memory consistency model; shuffles and votes order no
// memory). Blocks of a grid have none. Kept for a byte: who wrote it last, and who has read it since.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

namespace spn::ptx {

// Who accesses, and when.
struct Moment {
  std::uint32_t block, epoch, time;
  int thread;
  const std::uint32_t* known;  // by lane of the warp: accesses before this time are over
};

class Races {
 public:
  // threads: memory of a block, which is another's after it; blocks: memory that all share.
  enum class Between { threads, blocks };
  explicit Races(Between between) : between_(between) {}

  struct Conflict {
    std::uint32_t block;
    int thread;  // -1: several
    bool wrote;
  };
  // The access that this one is not ordered with, if any.
  std::optional<Conflict> access(std::uint64_t at, std::size_t bytes, bool write, const Moment& now);

 private:
  static constexpr std::int16_t kNobody = -1, kWarps = -2, kBlocks = -3;
  struct Byte {
    std::uint32_t writer_block = 0, writer_epoch = 0, writer_time = 0;
    std::uint32_t reader_block = 0, reader_epoch = 0, reader_time = 0, reader_lanes = 0;
    std::int16_t writer = kNobody;       // a thread
    std::int16_t reader_warp = kNobody;  // a warp, or that there are several
  };
  static constexpr std::size_t kPage = 4096;

  bool write_is_over(const Byte& b, const Moment& now) const;
  bool reads_are_over(const Byte& b, const Moment& now) const;
  void note_read(Byte& b, const Moment& now) const;
  Byte* page(std::uint64_t number);

  Between between_;
  std::unordered_map<std::uint64_t, std::vector<Byte>> pages_;
  std::uint64_t last_number_ = ~std::uint64_t{0};
  Byte* last_ = nullptr;
};

}  // namespace spn::ptx
