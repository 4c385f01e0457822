// SHA-256 against the values of FIPS 180-4's examples.
#include "engine/core/sha256.h"

#include <gtest/gtest.h>

#include <utility>

#include "tests/support/errors.h"
#include "tests/support/temp_folder.h"

namespace spn {
namespace {

constexpr const char* kOfAbc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr const char* kOfNothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

TEST(Sha256, OfBytes) {
  EXPECT_EQ(sha256(""), kOfNothing);
  EXPECT_EQ(sha256("abc"), kOfAbc);
  EXPECT_EQ(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST(Sha256, InParts) {
  Sha256 first;
  first.add("a");
  Sha256 sum = std::move(first);
  sum.add("b");
  sum.add(nullptr, 0);
  sum.add("c");
  EXPECT_EQ(sum.hex(), kOfAbc);
}

TEST(Sha256, OfFiles) {
  const test::TempFolder folder;
  EXPECT_EQ(sha256_file(folder.put("none", "")), kOfNothing);
  const std::string million(1'000'000, 'a');
  EXPECT_EQ(sha256_file(folder.put("a", million)), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
  const std::string more(3'500'000, 'b');  // more than a block, and a part of one
  EXPECT_EQ(sha256_file(folder.put("b", more)), sha256(more));
  test::error_of(ErrorKind::data, [&] { sha256_file(folder / "missing"); });
}

}  // namespace
}  // namespace spn
