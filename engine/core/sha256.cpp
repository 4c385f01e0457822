#include "engine/core/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <vector>

#include "engine/core/check.h"
#include "engine/core/file.h"

namespace spn {

void Sha256::Free::operator()(evp_md_ctx_st* context) const noexcept { EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  check(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1, "sha256",
        "OpenSSL cannot start a SHA-256");
}

void Sha256::add(const void* data, std::size_t bytes) {
  check(EVP_DigestUpdate(context_.get(), data, bytes) == 1, "sha256", "OpenSSL failed");
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned int n = 0;
  check(EVP_DigestFinal_ex(context_.get(), raw.data(), &n) == 1, "sha256", "OpenSSL failed");
  std::string text;
  for (unsigned int i = 0; i < n; ++i) text += fmt::format("{:02x}", raw[i]);
  return text;
}

std::string sha256(std::string_view bytes) {
  Sha256 sum;
  sum.add(bytes);
  return sum.hex();
}

std::string sha256_file(const std::string& path) {
  const files::FileReader file(path);
  Sha256 sum;
  std::vector<char> block(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < file.size(); at += block.size()) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), file.size() - at));
    file.read(block.data(), n, at);
    sum.add(block.data(), n);
  }
  return sum.hex();
}

}  // namespace spn
