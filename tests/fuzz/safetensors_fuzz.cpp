// libFuzzer on the safetensors reader. Built and run by launch/local/fuzz.sh; the corpus it keeps is replayed by
// tests/engine/ckpt/safetensors_corpus_test.cpp.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "tests/fuzz/safetensors_target.h"

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

// A file is read by path: one in memory, emptied and filled for each input.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int fd = memfd_create("fuzz", 0);
  static const std::string path = "/proc/self/fd/" + std::to_string(fd);
  if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) return -1;
  (void)spn::test::read_safetensors_wholly(path);
  return 0;
}

// Most mutations make the header's length wrong, and the reader then stops at byte 8: three of four get it right again.
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned int seed) {
  size = LLVMFuzzerMutate(data, size, max_size);
  if (size < 9 || seed % 4 == 0) return size;
  uint64_t length = size - 8;
  for (size_t i = size; i > 8; --i)
    if (data[i - 1] == '}') {
      length = i - 8;
      break;
    }
  std::memcpy(data, &length, sizeof length);
  return size;
}
