// The float32 kernels: every level has the bits of the scalar one.
#include <doctest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "dispatch.h"
#include "fp_environment.h"
#include "random_input.h"

namespace dpr::test {
namespace {

constexpr std::size_t kDims[] = {1, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 128, 1000};

// Values in an allocation of just their size, `shift` floats from any alignment.
struct Shifted {
  std::vector<float> memory;
  std::size_t shift;

  const float* data() const { return memory.data() + shift; }
};

Shifted values(Random& random, std::size_t n) {
  const std::size_t shift = random.below(16);
  Shifted made{std::vector<float>(shift + n), shift};
  constexpr float kSpecial[] = {0.0f, -0.0f, 1e-45f, -1e-45f, 1e-20f, -1e-20f, 1e18f, -1e18f, 3e38f};
  const bool special = random.chance(0.3);
  for (float& value : made.memory) value = special ? kSpecial[random.below(9)] : random.normal();
  return made;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::uint32_t bits_a;
    std::uint32_t bits_b;
    std::memcpy(&bits_a, &a[i], sizeof(bits_a));
    std::memcpy(&bits_b, &b[i], sizeof(bits_b));
    // The payload of a NaN is nobody's business: all rank last.
    if (bits_a != bits_b && !(a[i] != a[i] && b[i] != b[i])) return false;
  }
  return true;
}

TEST_CASE("rows in a row") {
  const FpEnvironment environment;
  Random random(1);
  for (const std::size_t dim : kDims) {
    for (std::size_t n_rows = 0; n_rows <= 21; ++n_rows) {
      const Shifted query = values(random, dim);
      const Shifted rows = values(random, n_rows * dim);
      std::vector<float> expected(n_rows);
      dot_rows_f32_scalar(query.data(), rows.data(), n_rows, dim, expected.data());
      for (const SimdLevel level : supported_simd_levels()) {
        CAPTURE(std::string(simd_level_name(level)));
        CAPTURE(dim);
        CAPTURE(n_rows);
        std::vector<float> got(n_rows);
        kernels_for(level).dot_rows_f32(query.data(), rows.data(), n_rows, dim, got.data());
        REQUIRE(same_bits(got, expected));
      }
    }
  }
}

TEST_CASE("gathered rows") {
  const FpEnvironment environment;
  Random random(2);
  constexpr std::size_t kRows = 40;
  for (const std::size_t dim : kDims) {
    const Shifted base = values(random, kRows * dim);
    for (std::size_t n_rows = 0; n_rows <= 17; ++n_rows) {
      const Shifted query = values(random, dim);
      std::vector<std::uint32_t> index(n_rows);
      for (std::uint32_t& row : index) row = static_cast<std::uint32_t>(random.below(kRows));
      std::vector<float> expected(n_rows);
      dot_gather_f32_scalar(query.data(), base.data(), index.data(), n_rows, dim, expected.data());
      for (const SimdLevel level : supported_simd_levels()) {
        CAPTURE(std::string(simd_level_name(level)));
        CAPTURE(dim);
        CAPTURE(n_rows);
        std::vector<float> got(n_rows);
        kernels_for(level).dot_gather_f32(query.data(), base.data(), index.data(), n_rows, dim, got.data());
        REQUIRE(same_bits(got, expected));
      }
    }
  }
}

// Each lane is an underflowed negative product, -0; only lanes that the padding reaches become +0.
TEST_CASE("padding turns a sum of -0 into +0") {
  const FpEnvironment environment;
  for (std::size_t dim = 1; dim <= 48; ++dim) {
    const std::vector<float> query(dim, 0x1p-100f);
    const std::vector<float> row(dim, -0x1p-100f);
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      CAPTURE(dim);
      float got = 1.0f;
      kernels_for(level).dot_rows_f32(query.data(), row.data(), 1, dim, &got);
      CHECK(got == 0.0f);
      CHECK(std::signbit(got) == (dim % 16 == 0));
    }
  }
}

}  // namespace
}  // namespace dpr::test
