#include "index/item_geometry.h"

#include <cmath>

#include "index/error_bound.h"
#include "kernels/scan_i8.h"

namespace dpr {

ItemGeometry item_geometry(const float* vector, const float* centre, const std::uint8_t* codes, float scale,
                           std::size_t width) {
  double dot = 0.0;
  double centre_square = 0.0;
  double square = 0.0;
  for (std::size_t d = 0; d < width; ++d) {
    dot += double{vector[d]} * double{centre[d]};
    centre_square += double{centre[d]} * double{centre[d]};
    square += double{vector[d]} * double{vector[d]};
  }
  const double along = centre_square > 0.0 ? dot / centre_square : 0.0;
  double across_square = 0.0;
  double error_square = 0.0;
  double code_square = 0.0;
  for (std::size_t d = 0; d < width; ++d) {
    const double across = double{vector[d]} - along * double{centre[d]};
    const double coded = double{scale} * (int{codes[d / 4 * kQuadBytes + d % 4]} - 128);  // exact
    const double error = double{vector[d]} - coded;
    across_square += across * across;
    error_square += error * error;
    code_square += coded * coded;
  }
  const double norm = std::sqrt(square) * kFloat64Slack;
  // A difference of doubles may lose 2^-52 of its operands, which the sum's own slack does not cover when the
  // difference is small.
  const double cancelled = norm * 0x1p-48;
  return {along, std::sqrt(across_square) * kFloat64Slack + cancelled, norm,
          std::sqrt(error_square) * kFloat64Slack + cancelled, std::sqrt(code_square) * kFloat64Slack};
}

}  // namespace dpr
