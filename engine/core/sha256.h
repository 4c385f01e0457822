// SHA-256 of files and bytes, in hex. By OpenSSL.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/core/handle.h"

struct evp_md_ctx_st;  // OpenSSL's EVP_MD_CTX

namespace spn {

// Of bytes that come in parts.
class Sha256 {
 public:
  Sha256();
  void add(const void* data, std::size_t bytes);
  void add(std::string_view bytes) { add(bytes.data(), bytes.size()); }
  std::string hex();  // once, at the end

 private:
  struct Free {
    void operator()(evp_md_ctx_st* context) const noexcept;
  };
  Handle<evp_md_ctx_st*, nullptr, Free> context_;
};

std::string sha256(std::string_view bytes);
// Data error when the file cannot be read.
std::string sha256_file(const std::string& path);

}  // namespace spn
