#include "data/pack/digest.h"

#include <openssl/evp.h>

#include "engine/core/check.h"

namespace spn::data {
namespace {

void must(int ok) { check(ok == 1, "sha256", "OpenSSL failed"); }

}  // namespace

struct Sha256::State {
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  must(EVP_DigestInit_ex(state_->context.get(), EVP_sha256(), nullptr));
}
Sha256::~Sha256() = default;

void Sha256::add(const void* bytes, std::size_t n) { must(EVP_DigestUpdate(state_->context.get(), bytes, n)); }

std::string Sha256::hex() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  must(EVP_DigestFinal_ex(state_->context.get(), digest, &length));
  std::string out;
  for (unsigned i = 0; i < length; ++i) out += fmt::format("{:02x}", digest[i]);
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 digest;
  digest.add(bytes.data(), bytes.size());
  return digest.hex();
}

}  // namespace spn::data
