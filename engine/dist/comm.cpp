// What every communicator can do in terms of its collectives: strings, flags, shared failure.
#include <algorithm>
#include <cstring>
#include <exception>

#include "engine/dist/together.h"

namespace spn::dist {

std::vector<std::string> all_gather_strings(Comm& comm, const std::string& mine) {
  const int ranks = comm.size();
  std::int64_t length = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> lengths(static_cast<std::size_t>(ranks));
  comm.all_gather(host_view(&length, {1}), host_view(lengths.data(), {ranks}));
  const std::int64_t widest = *std::max_element(lengths.begin(), lengths.end());
  std::vector<std::string> all(static_cast<std::size_t>(ranks));
  if (widest == 0) return all;
  // padded to the longest: one equal-length gather
  std::vector<std::uint8_t> padded(static_cast<std::size_t>(widest)), joined(static_cast<std::size_t>(widest * ranks));
  std::memcpy(padded.data(), mine.data(), mine.size());
  comm.all_gather(host_view(padded.data(), {1, widest}), host_view(joined.data(), {ranks, widest}));
  for (int r = 0; r < ranks; ++r)
    all[static_cast<std::size_t>(r)].assign(reinterpret_cast<const char*>(joined.data()) + r * widest,
                                            static_cast<std::size_t>(lengths[static_cast<std::size_t>(r)]));
  return all;
}

bool any(Comm& comm, bool mine) {
  std::int32_t flag = mine ? 1 : 0;
  comm.all_reduce(host_view(&flag, {1}), ReduceOp::max);
  return flag != 0;
}

void share_failure(Comm& comm, std::string_view where, const std::exception_ptr& mine) {
  if (!any(comm, mine != nullptr)) return;
  // one byte of kind, then the message; empty on ranks that did not fail
  std::string note;
  if (mine) {
    try {
      std::rethrow_exception(mine);
    } catch (const Error& e) {
      note = static_cast<char>('0' + static_cast<int>(e.kind())) + std::string(e.what());
    } catch (const std::exception& e) {
      note = '0' + std::string(e.what());
    }
  }
  const auto notes = all_gather_strings(comm, note);
  if (mine) std::rethrow_exception(mine);
  const auto first = std::find_if(notes.begin(), notes.end(), [](const std::string& s) { return !s.empty(); });
  throw RepeatedError(static_cast<ErrorKind>(first->at(0) - '0'), where,
                      fmt::format("rank {} failed: {}", first - notes.begin(), first->substr(1)));
}

}  // namespace spn::dist
