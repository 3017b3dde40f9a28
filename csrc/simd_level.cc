// Detection by CPUID (what the CPU has) and XCR0 (which registers the operating system saves), and for AMX by
// asking the operating system.
#include "simd_level.h"

#include <cstdint>
#include <cstdlib>
#include <stdexcept>

#ifdef DPR_X86_64
#include <cpuid.h>
#endif
#ifdef DPR_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dpr {
namespace {

constexpr char kEnvironmentVariable[] = "DPR_SIMD_LEVEL";

#ifdef DPR_X86_64

constexpr bool has_bits(std::uint64_t value, std::uint64_t bits) { return (value & bits) == bits; }

// The intrinsic _xgetbv would need -mxsave for this whole file.
std::uint64_t read_xcr0() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<std::uint64_t>(high) << 32) | low;
}

#ifdef DPR_AMX

// Linux gives out the 8 KiB of tile registers a thread on demand only, and refuses where an alternate signal
// stack is too small for them (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // its bit in XCR0
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_amx_int8(unsigned leaf7_edx, std::uint64_t xcr0) {
  constexpr std::uint64_t kTileState = 0x60000;       // XCR0: tile configuration, tile data
  constexpr std::uint64_t kTileAndInt8 = 0x03000000;  // EDX: AMX-TILE, AMX-INT8
  return has_bits(leaf7_edx, kTileAndInt8) && has_bits(xcr0, kTileState) && may_use_tiles();
}

#else

bool has_amx_int8(unsigned, std::uint64_t) { return false; }

#endif

std::vector<SimdLevel> detect_levels() {
  std::vector<SimdLevel> levels{SimdLevel::kScalar};
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return levels;
  const bool has_fma = has_bits(c, bit_FMA);
  // Without OSXSAVE the instruction xgetbv itself is undefined.
  if (!has_bits(c, bit_OSXSAVE) || !__get_cpuid_count(7, 0, &a, &b, &c, &d)) return levels;

  constexpr std::uint64_t kYmmState = 0x06;  // XCR0: SSE, AVX
  constexpr std::uint64_t kZmmState = 0xe6;  // and opmask, upper halves of zmm0-15, zmm16-31
  const std::uint64_t xcr0 = read_xcr0();
  if (!has_fma || !has_bits(b, bit_AVX2) || !has_bits(xcr0, kYmmState)) return levels;
  levels.push_back(SimdLevel::kAvx2);
  // One level for all of AVX-512: CPUs without VNNI run AVX2.
  const bool has_avx512 = has_bits(b, bit_AVX512F) && has_bits(c, bit_AVX512VNNI);
  if (!has_avx512 || !has_bits(xcr0, kZmmState)) return levels;
  levels.push_back(SimdLevel::kAvx512Vnni);
  if (has_amx_int8(d, xcr0)) levels.push_back(SimdLevel::kAmx);
  return levels;
}

#elif defined(DPR_AARCH64)

std::vector<SimdLevel> detect_levels() { return {SimdLevel::kScalar, SimdLevel::kNeon}; }

#else

std::vector<SimdLevel> detect_levels() { return {SimdLevel::kScalar}; }

#endif

std::string supported_names() {
  std::string names;
  for (const SimdLevel level : supported_simd_levels()) {
    if (!names.empty()) names += ", ";
    names += simd_level_name(level);
  }
  return names;
}

// AMX has only been run on a model of its instructions: whoever wants it asks for it.
SimdLevel default_level() {
  const std::vector<SimdLevel>& levels = supported_simd_levels();
  return levels.back() == SimdLevel::kAmx ? levels[levels.size() - 2] : levels.back();
}

}  // namespace

const char* simd_level_name(SimdLevel level) {
  switch (level) {
    case SimdLevel::kNeon:
      return "neon";
    case SimdLevel::kAmx:
      return "amx";
    case SimdLevel::kAvx512Vnni:
      return "avx512vnni";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kScalar:
      break;
  }
  return "scalar";
}

const std::vector<SimdLevel>& supported_simd_levels() {
  static const std::vector<SimdLevel> levels = detect_levels();
  return levels;
}

SimdLevel choose_simd_level(const std::optional<std::string>& requested) {
  const char* from_environment = requested ? nullptr : std::getenv(kEnvironmentVariable);
  if (!requested && from_environment == nullptr) return default_level();
  const std::string name = requested ? *requested : from_environment;
  for (const SimdLevel level : supported_simd_levels()) {
    if (name == simd_level_name(level)) return level;
  }
  const std::string source =
      requested ? "simd_level" : std::string("environment variable ") + kEnvironmentVariable;
  throw std::invalid_argument(source + ": expected a level that this machine supports (" + supported_names() +
                              "), got '" + name + "'");
}

}  // namespace dpr
