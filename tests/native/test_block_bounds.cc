// The kernels that choose blocks and queries: on no level does a bound fall short of its exact value by more
// than the twenty roundings that the slack in the index covers, nor exceed it by more.
#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "dispatch.h"
#include "fp_environment.h"
#include "index/error_bound.h"
#include "random_input.h"

namespace dpr::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A sum of products and the rounding that it may suffer.
struct Exact {
  double value = 0.0;
  double size = 0.0;

  void add(double term) {
    value += term;
    size += std::fabs(term);
  }
  double room() const { return gamma_float32(20) * size + 1e-40; }
};

// Lengths in blocks and queries differ by many orders of magnitude.
float length(Random& random) {
  return std::ldexp(std::fabs(random.normal()), static_cast<int>(random.between(-30, 30)));
}

struct Blocks {
  std::vector<float> arrays[7];
  std::vector<std::uint32_t> cluster_begin;
  std::size_t n = 0;

  PartBounds view() const {
    return {arrays[0].data(), arrays[1].data(), arrays[2].data(), arrays[3].data(),
            arrays[4].data(), arrays[5].data(), arrays[6].data()};
  }
};

Blocks make_blocks(Random& random, std::size_t n_clusters, std::size_t largest) {
  Blocks blocks;
  blocks.cluster_begin.push_back(0);
  for (std::size_t c = 0; c < n_clusters; ++c) {
    blocks.n += random.below(largest + 1);
    blocks.cluster_begin.push_back(static_cast<std::uint32_t>(blocks.n));
  }
  for (std::vector<float>& array : blocks.arrays) {
    for (std::size_t b = 0; b < blocks.n; ++b) array.push_back(length(random));
  }
  for (std::size_t b = 0; b < blocks.n; ++b) {
    blocks.arrays[2][b] = random.normal();  // along_min, along_max: either sign
    blocks.arrays[3][b] = blocks.arrays[2][b] + std::fabs(random.normal());
  }
  return blocks;
}

TEST_CASE("bounds of all blocks") {
  const FpEnvironment environment;
  Random random(1);
  for (const std::size_t n_clusters : {1u, 2u, 7u, 30u}) {
    const Blocks blocks = make_blocks(random, n_clusters, 40);
    std::vector<float> along = random.normals(n_clusters);
    std::vector<float> across(n_clusters);
    for (float& value : across) value = length(random);
    const float norm = length(random);
    const std::vector<float> before = random.normals(blocks.n);
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      std::vector<float> upper = before;
      kernels_for(level).add_bounds(blocks.view(), blocks.cluster_begin.data(), n_clusters, along.data(),
                                    across.data(), norm, upper.data());
      for (std::size_t c = 0; c < n_clusters; ++c) {
        for (std::size_t b = blocks.cluster_begin[c]; b < blocks.cluster_begin[c + 1]; ++b) {
          Exact exact;
          exact.add(before[b]);
          exact.add(std::max(double{blocks.arrays[2][b]} * along[c], double{blocks.arrays[3][b]} * along[c]));
          exact.add(double{blocks.arrays[4][b]} * across[c]);
          exact.add(double{blocks.arrays[5][b]} * norm);
          REQUIRE(std::fabs(upper[b] - exact.value) <= exact.room());
        }
      }
    }
  }
}

TEST_CASE("places of the values that reach a floor") {
  Random random(2);
  for (std::size_t n = 0; n <= 70; ++n) {
    std::vector<float> values = random.normals(n);
    for (float& value : values) {
      if (random.chance(0.1)) value = random.chance(0.5) ? -kInfinity : kInfinity;
    }
    for (const float floor : {-kInfinity, -0.5f, n > 0 ? values[n / 2] : 0.0f, 0.5f, kInfinity}) {
      std::vector<std::uint32_t> expected;
      for (std::uint32_t i = 0; i < n; ++i) {
        if (values[i] >= floor) expected.push_back(i);
      }
      for (const SimdLevel level : supported_simd_levels()) {
        CAPTURE(std::string(simd_level_name(level)));
        CAPTURE(n);
        std::vector<std::uint32_t> places(n + kQueryLanes);
        const std::size_t count = kernels_for(level).select_at_least(values.data(), n, floor, places.data());
        places.resize(count);
        REQUIRE(places == expected);
      }
    }
  }
}

TEST_CASE("sums become values, and maxima rise") {
  const FpEnvironment environment;
  Random random(3);
  std::vector<std::int32_t> sums(kBlockItems);
  for (std::int32_t& sum : sums) sum = static_cast<std::int32_t>(random.between(-500000000, 500000000));
  const std::vector<float> before = random.normals(kBlockItems);
  for (const SimdLevel level : supported_simd_levels()) {
    CAPTURE(std::string(simd_level_name(level)));
    const KernelTable& kernels = kernels_for(level);
    std::vector<float> values(kBlockItems);
    std::vector<float> added = before;
    std::vector<float> maxima = before;
    kernels.scale_sums(sums.data(), 0.25f, false, values.data());
    kernels.scale_sums(sums.data(), 1e-9f, true, added.data());
    kernels.raise_maxima(added.data(), 0.125f, maxima.data());
    for (std::size_t j = 0; j < kBlockItems; ++j) {
      REQUIRE(values[j] == 0.25f * static_cast<float>(sums[j]));
      const double exact = double{before[j]} + 1e-9 * sums[j];
      REQUIRE(std::fabs(added[j] - exact) <=
              gamma_float32(4) * (std::fabs(before[j]) + std::fabs(1e-9 * sums[j])));
      REQUIRE(maxima[j] == std::max(before[j], added[j] - 0.125f));
    }
  }
}

// One block, a batch of queries, and what the kernel must make of them.
struct Batch {
  BlockBounds block{};
  std::size_t n = 0;
  std::vector<float> floor;
  std::vector<float> norm[2], code_error[2], rounding[2], along[2], across[2];
  std::vector<float> inverse_scale;

  QueryBounds view() const {
    return {n,
            floor.data(),
            {norm[0].data(), norm[1].data()},
            {code_error[0].data(), code_error[1].data()},
            {rounding[0].data(), rounding[1].data()},
            inverse_scale.data(),
            {along[0].data(), along[1].data()},
            {across[0].data(), across[1].data()}};
  }
  Exact upper(std::size_t i, std::size_t n_parts) const;
  Exact least_sum(std::size_t i, std::size_t n_parts) const;
};

Exact Batch::upper(std::size_t i, std::size_t n_parts) const {
  Exact exact;
  exact.add(block.underflow);
  for (std::size_t p = 0; p < n_parts; ++p) {
    exact.add(std::max(double{block.along_min[p]} * along[p][i], double{block.along_max[p]} * along[p][i]));
    exact.add(double{block.across[p]} * across[p][i]);
    exact.add(double{block.norm_slack[p]} * norm[p][i]);
  }
  return exact;
}

Exact Batch::least_sum(std::size_t i, std::size_t n_parts) const {
  Exact exact;
  exact.add(floor[i]);
  exact.add(-block.underflow);
  for (std::size_t p = 0; p < n_parts; ++p) {
    exact.add(-double{block.code_error_slack[p]} * norm[p][i]);
    exact.add(-double{block.code_norm[p]} * code_error[p][i]);
    exact.add(-double{block.scale[p]} * rounding[p][i]);
  }
  return exact;
}

Batch make_batch(Random& random, std::size_t n, std::size_t n_padding) {
  Batch batch;
  batch.n = n;
  const int exponent = static_cast<int>(random.between(-20, 20));
  const auto size = [&] { return std::ldexp(std::fabs(random.normal()), exponent); };
  for (std::size_t p = 0; p < 2; ++p) {
    batch.block.scale[p] = size() / 127.0f + 1e-9f;
    batch.block.code_norm[p] = size();
    batch.block.along_min[p] = std::ldexp(random.normal(), exponent);
    batch.block.along_max[p] = batch.block.along_min[p] + size();
    batch.block.across[p] = size();
    batch.block.norm_slack[p] = size() * 1e-5f;
    batch.block.code_error_slack[p] = size() * 1e-2f;
    for (std::vector<float>* array :
         {&batch.norm[p], &batch.code_error[p], &batch.rounding[p], &batch.across[p]}) {
      for (std::size_t i = 0; i < n; ++i) array->push_back(std::fabs(random.normal()));
    }
    batch.along[p] = random.normals(n);
  }
  batch.block.inverse_scale = 1.0f / batch.block.scale[0];
  batch.block.underflow = underflow_slack(64);
  for (std::size_t i = 0; i < n; ++i) {
    batch.inverse_scale.push_back(20.0f * (0.1f + std::fabs(random.normal())));
    const double upper = batch.upper(i, 2).value;  // floors on either side of what is reached
    const double choices[] = {upper, batch.upper(i, 1).value, upper * 0.5, -upper, 0.0};
    const bool is_open = random.chance(0.1);
    batch.floor.push_back(is_open ? -kInfinity : static_cast<float>(choices[random.below(5)]));
    if (i + n_padding >= n) batch.floor[i] = kInfinity;
  }
  return batch;
}

// Where in the ascending list `which` query i stands, or the list's length.
std::size_t place_of(const std::vector<std::uint32_t>& which, std::size_t i) {
  const auto found = std::find(which.begin(), which.end(), static_cast<std::uint32_t>(i));
  return static_cast<std::size_t>(found - which.begin());
}

void check_choice(const Batch& batch, std::size_t n_parts, bool all,
                  const std::vector<std::uint32_t>& which) {
  REQUIRE(std::is_sorted(which.begin(), which.end()));
  for (std::size_t i = 0; i < batch.n; ++i) {
    const bool is_chosen = place_of(which, i) < which.size();
    const Exact upper = batch.upper(i, n_parts);
    const double above = upper.value - double{batch.floor[i]};
    if (batch.floor[i] == kInfinity) {
      REQUIRE_FALSE(is_chosen);
    } else if (all || above > upper.room()) {
      REQUIRE(is_chosen);
    } else if (above < -upper.room()) {
      REQUIRE_FALSE(is_chosen);
    }
  }
}

struct Shape {
  std::size_t n;
  std::size_t n_padding;
};

constexpr Shape kShapes[] = {{16, 0}, {16, 15}, {32, 3}, {48, 0}, {256, 5}};

TEST_CASE("queries of a block, one part") {
  const FpEnvironment environment;
  Random random(4);
  for (int round = 0; round < 60; ++round) {
    const Shape shape = kShapes[round % 5];
    const Batch batch = make_batch(random, shape.n, shape.n_padding);
    for (const SimdLevel level : supported_simd_levels()) {
      for (const bool all : {false, true}) {
        CAPTURE(std::string(simd_level_name(level)));
        CAPTURE(round);
        std::vector<std::uint32_t> which(shape.n + kQueryLanes);
        std::vector<std::int32_t> thresholds(which.size());
        const std::size_t count = kernels_for(level).select_queries_part(batch.block, batch.view(), all,
                                                                         which.data(), thresholds.data());
        which.resize(count);
        check_choice(batch, 1, all, which);
        for (std::size_t at = 0; at < count; ++at) {
          const std::size_t i = which[at];
          if (batch.floor[i] == -kInfinity) {
            REQUIRE(thresholds[at] == -static_cast<std::int32_t>(kSumLimit));
            continue;
          }
          const Exact least = batch.least_sum(i, 1);
          const double factor = double{batch.block.inverse_scale} * double{batch.inverse_scale[i]};
          const auto clamp = [](double sum) {
            return std::clamp(std::floor(sum), -double{kSumLimit}, double{kSumLimit});
          };
          REQUIRE(thresholds[at] <= clamp((least.value + least.room()) * factor));
          REQUIRE(thresholds[at] >= clamp((least.value - least.room()) * factor));
        }
      }
    }
  }
}

TEST_CASE("queries of a block, two parts") {
  const FpEnvironment environment;
  Random random(5);
  for (int round = 0; round < 60; ++round) {
    const Shape shape = kShapes[round % 5];
    const Batch batch = make_batch(random, shape.n, shape.n_padding);
    for (const SimdLevel level : supported_simd_levels()) {
      for (const bool all : {false, true}) {
        CAPTURE(std::string(simd_level_name(level)));
        CAPTURE(round);
        std::vector<std::uint32_t> which(shape.n + kQueryLanes);
        std::vector<float> thresholds(which.size());
        const std::size_t count = kernels_for(level).select_queries_parts(batch.block, batch.view(), all,
                                                                          which.data(), thresholds.data());
        which.resize(count);
        check_choice(batch, 2, all, which);
        for (std::size_t at = 0; at < count; ++at) {
          const Exact least = batch.least_sum(which[at], 2);
          const bool is_open = batch.floor[which[at]] == -kInfinity;
          REQUIRE((is_open ? thresholds[at] == -kInfinity
                           : std::fabs(thresholds[at] - least.value) <= least.room()));
        }
      }
    }
  }
}

}  // namespace
}  // namespace dpr::test
