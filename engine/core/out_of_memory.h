// No memory on a device: an error that somebody may have a way around.
#pragma once

#include "engine/core/check.h"

namespace spn {

class OutOfMemory : public Error {
 public:
  OutOfMemory(std::string_view where, std::string_view message) : Error(ErrorKind::internal, where, message) {}
};

}  // namespace spn
