// Kernels read nothing past the end of their arrays: here, memory that is not there.
#include <doctest.h>

#include <string>
#include <vector>

#include "dispatch.h"
#include "guarded_bytes.h"
#include "random_input.h"

namespace dpr::test {
namespace {

TEST_CASE("dot products at the end of memory") {
  Random random(1);
  for (std::size_t dim = 1; dim <= 40; ++dim) {
    for (std::size_t n_rows = 1; n_rows <= 5; ++n_rows) {
      GuardedBytes query_bytes(dim * sizeof(float));
      GuardedBytes row_bytes(n_rows * dim * sizeof(float));
      auto* query = reinterpret_cast<float*>(query_bytes.data());
      auto* rows = reinterpret_cast<float*>(row_bytes.data());
      for (std::size_t d = 0; d < dim; ++d) query[d] = random.normal();
      for (std::size_t d = 0; d < n_rows * dim; ++d) rows[d] = random.normal();
      const std::vector<std::uint32_t> last(n_rows, static_cast<std::uint32_t>(n_rows - 1));
      std::vector<float> expected(n_rows);
      dot_rows_f32_scalar(query, rows, n_rows, dim, expected.data());
      for (const SimdLevel level : supported_simd_levels()) {
        CAPTURE(std::string(simd_level_name(level)));
        CAPTURE(dim);
        std::vector<float> got(n_rows);
        kernels_for(level).dot_rows_f32(query, rows, n_rows, dim, got.data());
        CHECK(got == expected);
        kernels_for(level).dot_gather_f32(query, rows, last.data(), n_rows, dim, got.data());
        CHECK(got == std::vector<float>(n_rows, expected.back()));
      }
    }
  }
}

// The sums are the business of test_scan_kernels.cc.
TEST_CASE("scans at the end of memory") {
  constexpr std::size_t kQueries = 17;
  const float scales[2 * kQueries] = {};
  const float block_scales[2] = {1.0f, 1.0f};
  const std::int32_t offsets[2 * kQueries] = {};
  const std::int32_t least_sums[kQueries] = {};
  const float least_scores[kQueries] = {};
  const std::vector<std::uint32_t> which(kQueries, kQueries - 1);
  for (std::size_t n_quads = 2; n_quads <= 34; ++n_quads) {
    GuardedBytes block(n_quads * kQuadBytes);
    GuardedBytes code_bytes(kQueries * 4 * n_quads);
    const auto* codes = reinterpret_cast<const std::int8_t*>(code_bytes.data());
    const CodedQueries one_part{codes, 4 * n_quads, offsets, scales, {n_quads, 0}};
    const CodedQueries two_parts{codes, 4 * n_quads, offsets, scales, {1, n_quads - 1}};
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      CAPTURE(n_quads);
      const KernelTable& kernels = kernels_for(level);
      const std::vector<std::uint64_t> all(kQueries, ~std::uint64_t{0});
      std::vector<std::uint64_t> masks(kQueries);
      kernels.scan_part_i8(block.data(), one_part, which.data(), least_sums, kQueries, masks.data(), nullptr);
      CHECK(masks == all);
      masks.assign(kQueries, 0);
      kernels.scan_parts_i8(block.data(), block_scales, two_parts, which.data(), least_scores, kQueries,
                            masks.data(), nullptr);
      CHECK(masks == all);
    }
  }
}

}  // namespace
}  // namespace dpr::test
