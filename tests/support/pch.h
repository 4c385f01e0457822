// Parsed once for all tests (a precompiled header, cmake/Tests.cmake): what most of them include, and nothing that
// changes often. A test still includes what it uses.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>
