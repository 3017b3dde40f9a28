// The five tile operations of AMX that the int8 kernel needs, and the release of the tiles.
//
// Not intrinsics but asm with memory clobbers: those of gcc 12 do not tell the compiler which memory they
// read and write, so that at -O3 stores into buffers and into the configuration vanish.
//
// Compiled with DPR_AMX_MODEL they are calls of tests/native/amx_tiles_model.h, which computes what the
// architecture manual says (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2) and stops
// the program at what faults there.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef DPR_AMX_MODEL
#include "amx_tiles_model.h"
#endif

namespace dpr {
namespace {

constexpr size_t kTiles = 8;
constexpr size_t kTileRows = 16;
constexpr size_t kTileRowBytes = 64;

// The 64 bytes that ldtilecfg reads.
struct TileConfig {
  uint8_t palette;
  uint8_t start_row;
  uint8_t reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64, "the format is the CPU's");

#ifdef DPR_AMX_MODEL

inline void tile_configure(const TileConfig& config) { amx_model::ldtilecfg(&config); }
inline void tile_release() { amx_model::tilerelease(); }
template <int kTile>
inline void tile_zero() {
  amx_model::tilezero(kTile);
}
template <int kTile>
inline void tile_load(const void* rows, size_t stride) {
  amx_model::tileloadd(kTile, rows, stride);
}
template <int kTile>
inline void tile_store(void* rows, size_t stride) {
  amx_model::tilestored(kTile, rows, stride);
}
template <int kSums, int kSigned, int kUnsigned>
inline void tile_add_products() {
  amx_model::tdpbsud(kSums, kSigned, kUnsigned);
}

#else

inline void tile_configure(const TileConfig& config) {
  __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
}

// Back to the initial state: nothing to save at a context switch, and no claim on what another library's code
// in this thread configures next.
inline void tile_release() { __asm__ volatile("tilerelease" : : : "memory"); }

template <int kTile>
inline void tile_zero() {
  __asm__ volatile("tilezero %%tmm%c0" : : "i"(kTile) : "memory");
}

template <int kTile>
inline void tile_load(const void* rows, size_t stride) {
  __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(rows), "r"(stride), "i"(kTile) : "memory");
}

template <int kTile>
inline void tile_store(void* rows, size_t stride) {
  __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(rows), "r"(stride), "i"(kTile) : "memory");
}

// kSums[row][column] += sum over quads of the four products of kSigned[row][quad] and
// kUnsigned[quad][column].
template <int kSums, int kSigned, int kUnsigned>
inline void tile_add_products() {
  __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0"
                   :
                   : "i"(kSums), "i"(kSigned), "i"(kUnsigned)
                   : "memory");
}

#endif

}  // namespace
}  // namespace dpr
