#include "engine/ckpt/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <vector>

#include "engine/ckpt/file.h"
#include "engine/core/check.h"

namespace spn::ckpt {
namespace {

EVP_MD_CTX* context_of(const std::unique_ptr<void, void (*)(void*)>& p) { return static_cast<EVP_MD_CTX*>(p.get()); }

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new(), [](void* p) { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(p)); }) {
  check(context_ != nullptr && EVP_DigestInit_ex(context_of(context_), EVP_sha256(), nullptr) == 1, "sha256",
        "OpenSSL cannot start a SHA-256");
}

void Sha256::add(const void* data, std::size_t bytes) {
  check(EVP_DigestUpdate(context_of(context_), data, bytes) == 1, "sha256", "OpenSSL failed");
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
  unsigned int n = 0;
  check(EVP_DigestFinal_ex(context_of(context_), raw.data(), &n) == 1, "sha256", "OpenSSL failed");
  std::string text;
  for (unsigned int i = 0; i < n; ++i) text += fmt::format("{:02x}", raw[i]);
  return text;
}

std::string sha256(std::string_view bytes) {
  Sha256 d;
  d.add(bytes.data(), bytes.size());
  return d.hex();
}

std::string sha256_file(const std::string& path) {
  const FileReader file(path);
  Sha256 d;
  std::vector<char> block(std::size_t{1} << 20);
  for (std::uint64_t at = 0; at < file.size(); at += block.size()) {
    const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(block.size(), file.size() - at));
    file.read(block.data(), n, at);
    d.add(block.data(), n);
  }
  return d.hex();
}

}  // namespace spn::ckpt
