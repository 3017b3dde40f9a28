// Which instruction sets this machine can run, and which one is asked for.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace dpr {

// Ascending: a level's number is its place in supported_simd_levels() on a machine that has them all.
enum class SimdLevel { kScalar = 0, kAvx2 = 1, kAvx512Vnni = 2 };

const char* simd_level_name(SimdLevel level);

// Lowest first; kScalar is always there.
const std::vector<SimdLevel>& supported_simd_levels();

// The level named by `requested`, else by the environment variable DPR_SIMD_LEVEL, else the highest
// supported. Throws std::invalid_argument when the name is unknown or this machine cannot run it: a forced
// level that quietly became another one would make every measurement and test of it a lie.
SimdLevel choose_simd_level(const std::optional<std::string>& requested);

}  // namespace dpr
