// SHA-256 of files and bytes, in hex. By OpenSSL.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace spn::ckpt {

// Of bytes that come in parts.
class Sha256 {
 public:
  Sha256();
  void add(const void* data, std::size_t bytes);
  void add(std::string_view bytes) { add(bytes.data(), bytes.size()); }
  std::string hex();  // once, at the end

 private:
  std::unique_ptr<void, void (*)(void*)> context_;
};

std::string sha256(std::string_view bytes);
// Data error when the file cannot be read.
std::string sha256_file(const std::string& path);

}  // namespace spn::ckpt
