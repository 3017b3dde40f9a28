// The tile operations of kernels/amx_tiles.h as the architecture manual defines them, in plain C++, for
// machines that do not have them. What faults on a CPU stops the program with a message.
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace amx_model {

constexpr size_t kTiles = 8;
constexpr size_t kMaxRows = 16;
constexpr size_t kMaxRowBytes = 64;

struct Tile {
  size_t rows;
  size_t row_bytes;
  uint8_t data[kMaxRows][kMaxRowBytes];
};

struct State {
  bool is_configured = false;
  Tile tiles[kTiles] = {};
};

// How many products of tiles there were, so that a test can tell that there were any.
inline size_t& n_products() {
  static thread_local size_t count = 0;
  return count;
}

inline State& state() {
  static thread_local State the_state;
  return the_state;
}

inline void require(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "tile operation that would fault: %s\n", what);
  abort();
}

inline Tile& configured_tile(int number) {
  require(state().is_configured, "tiles are not configured");
  require(number >= 0 && number < static_cast<int>(kTiles), "no such tile");
  Tile& tile = state().tiles[number];
  require(tile.rows > 0 && tile.row_bytes > 0, "the tile has no shape");
  return tile;
}

inline void tilerelease() { state() = State(); }

// Bytes: 0 palette, 1 start row, 16-47 bytes a row of 16 tiles, 48-63 rows; the others are reserved.
inline void ldtilecfg(const void* config) {
  uint8_t bytes[64];
  memcpy(bytes, config, sizeof(bytes));
  tilerelease();
  if (bytes[0] == 0) return;
  require(bytes[0] == 1, "unknown palette");
  for (size_t i = 2; i < 16; ++i) require(bytes[i] == 0, "a reserved byte is set");
  require(bytes[1] == 0, "a start row that no interrupted operation left");
  for (size_t i = 0; i < 16; ++i) {
    const size_t row_bytes = bytes[16 + 2 * i] + (static_cast<size_t>(bytes[17 + 2 * i]) << 8);
    const size_t rows = bytes[48 + i];
    require(i < kTiles || (rows == 0 && row_bytes == 0), "a tile past the last has a shape");
    require(rows <= kMaxRows && row_bytes <= kMaxRowBytes, "a tile is too large");
    require((rows == 0) == (row_bytes == 0), "a tile has rows or columns only");
    if (i < kTiles) state().tiles[i] = Tile{rows, row_bytes, {}};
  }
  state().is_configured = true;
}

inline void tilezero(int number) {
  Tile& tile = configured_tile(number);
  memset(tile.data, 0, sizeof(tile.data));
}

inline void tileloadd(int number, const void* memory, size_t stride) {
  Tile& tile = configured_tile(number);
  memset(tile.data, 0, sizeof(tile.data));
  for (size_t r = 0; r < tile.rows; ++r) {
    memcpy(tile.data[r], static_cast<const uint8_t*>(memory) + r * stride, tile.row_bytes);
  }
}

inline void tilestored(int number, void* memory, size_t stride) {
  const Tile& tile = configured_tile(number);
  for (size_t r = 0; r < tile.rows; ++r) {
    memcpy(static_cast<uint8_t*>(memory) + r * stride, tile.data[r], tile.row_bytes);
  }
}

// sums[m][n] += sum over k and four bytes of s8 a[m][k] * u8 b[k][n], wrapping.
inline void tdpbsud(int sums, int a, int b) {
  ++n_products();
  require(sums != a && sums != b && a != b, "the three tiles are not three");
  Tile& c = configured_tile(sums);
  const Tile& left = configured_tile(a);
  const Tile& right = configured_tile(b);
  require(c.row_bytes % 4 == 0 && left.row_bytes % 4 == 0 && right.row_bytes % 4 == 0,
          "rows are not of whole elements");
  require(c.rows == left.rows && c.row_bytes == right.row_bytes && left.row_bytes == 4 * right.rows,
          "the shapes do not fit");
  for (size_t m = 0; m < c.rows; ++m) {
    for (size_t n = 0; n < c.row_bytes / 4; ++n) {
      uint32_t sum;
      memcpy(&sum, &c.data[m][4 * n], sizeof(sum));
      for (size_t k = 0; k < right.rows; ++k) {
        for (size_t i = 0; i < 4; ++i) {
          sum += static_cast<uint32_t>(static_cast<int8_t>(left.data[m][4 * k + i]) *
                                       static_cast<int32_t>(right.data[k][4 * n + i]));
        }
      }
      memcpy(&c.data[m][4 * n], &sum, sizeof(sum));
    }
    memset(&c.data[m][c.row_bytes], 0, kMaxRowBytes - c.row_bytes);
  }
}

}  // namespace amx_model
