// SHA-256 of files and bytes, in hex. By OpenSSL.
#pragma once

#include <string>
#include <string_view>

namespace spn::ckpt {

std::string sha256(std::string_view bytes);
// Data error when the file cannot be read.
std::string sha256_file(const std::string& path);

}  // namespace spn::ckpt
