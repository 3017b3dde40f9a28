// Which instruction sets this machine can run, and which one is asked for.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace dpr {

// Those of one architecture ascend. kAvx2 to kAmx are x86-64's, kNeon is AArch64's.
enum class SimdLevel { kScalar, kAvx2, kAvx512Vnni, kAmx, kNeon };

const char* simd_level_name(SimdLevel level);

// Lowest first; kScalar is always there. The first call asks Linux for the use of AMX tiles if the CPU has
// them: that holds for the whole process, and makes the frames of its signals larger.
const std::vector<SimdLevel>& supported_simd_levels();

// The level named by `requested`, else by the environment variable DPR_SIMD_LEVEL, else the highest supported
// but amx, which must be asked for. Throws std::invalid_argument when the name is unknown or this machine
// cannot run it: a forced level that quietly became another one would make every measurement and test of it a
// lie.
SimdLevel choose_simd_level(const std::optional<std::string>& requested);

}  // namespace dpr
