// What the bounds of a block say of one item, computed in float64 and rounded to the safe side. Shared by the
// builder, which takes extremes over a block, and by the check, which compares.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dpr {

struct ItemGeometry {
  double along;       // alpha: <v, u> / <u, u>, or 0 for a centre of zero
  double across;      // >= |v - alpha u|
  double norm;        // >= |v|
  double code_error;  // >= |v - v'|
  double code_norm;   // >= |v'|
};

// `vector` and `centre` have `width` elements. Code d of the item is codes[d / 4 * 256 + d % 4].
ItemGeometry item_geometry(const float* vector, const float* centre, const std::uint8_t* codes, float scale,
                           std::size_t width);

}  // namespace dpr
