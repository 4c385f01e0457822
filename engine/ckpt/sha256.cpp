#include "engine/ckpt/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <memory>
#include <vector>

#include "engine/ckpt/file.h"
#include "engine/core/check.h"

namespace spn::ckpt {
namespace {

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    check(context_ != nullptr && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "sha256",
          "OpenSSL cannot start a SHA-256");
  }
  void add(const void* data, std::size_t bytes) {
    check(EVP_DigestUpdate(context_.get(), data, bytes) == 1, "sha256", "OpenSSL failed");
  }
  std::string hex() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
    unsigned int n = 0;
    check(EVP_DigestFinal_ex(context_.get(), raw.data(), &n) == 1, "sha256", "OpenSSL failed");
    std::string text;
    for (unsigned int i = 0; i < n; ++i) text += fmt::format("{:02x}", raw[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha256(std::string_view bytes) {
  Digest d;
  d.add(bytes.data(), bytes.size());
  return d.hex();
}

std::string sha256_file(const std::string& path) {
  const FileReader file(path);
  Digest d;
  std::vector<char> block(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < file.size(); at += block.size()) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), file.size() - at));
    file.read(block.data(), n, at);
    d.add(block.data(), n);
  }
  return d.hex();
}

}  // namespace spn::ckpt
