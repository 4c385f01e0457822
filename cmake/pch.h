// Parsed once a library (cmake/Precompile.cmake): what most sources of engine, data and launch include, directly or
// not. A source still includes what it uses; the sanitizer build, which precompiles nothing of theirs, holds it to
// that. Not nlohmann/json.hpp: being included costs a source 0.7 s, precompiled or not.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>
