// The int8 kernels of every level: scalar against plain sums in 64 bits, the others against scalar.
#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "dispatch.h"
#include "index/error_bound.h"
#include "random_input.h"

namespace dpr::test {
namespace {

// A block and coded queries, each in an allocation of just its size, `shift` bytes from any alignment.
struct Case {
  std::size_t n_quads[2];
  std::size_t n_queries;
  std::size_t shift;
  std::vector<std::uint8_t> block_bytes;
  std::vector<std::int8_t> code_bytes;
  std::vector<std::int32_t> offsets;
  std::vector<float> scales;

  const std::uint8_t* block() const { return block_bytes.data() + shift; }
  const std::uint8_t* block(std::size_t part) const {
    return block() + (part == 0 ? 0 : n_quads[0] * kQuadBytes);
  }
  std::size_t stride() const { return 4 * (n_quads[0] + n_quads[1]); }
  const std::int8_t* codes(std::size_t query, std::size_t part) const {
    return code_bytes.data() + shift + query * stride() + (part == 0 ? 0 : 4 * n_quads[0]);
  }
  CodedQueries view() const {
    return {code_bytes.data() + shift, stride(), offsets.data(), scales.data(), {n_quads[0], n_quads[1]}};
  }
  std::int64_t sum(std::size_t query, std::size_t part, std::size_t item) const;
};

std::int64_t Case::sum(std::size_t query, std::size_t part, std::size_t item) const {
  std::int64_t total = 0;
  for (std::size_t quad = 0; quad < n_quads[part]; ++quad) {
    for (std::size_t d = 0; d < 4; ++d) {
      const std::int64_t code = block(part)[quad * kQuadBytes + 4 * item + d];
      total += (code - 128) * codes(query, part)[4 * quad + d];
    }
  }
  return total;
}

// kPairs: codes at the ends of their ranges, whose products in pairs are about as large as 2^15.
enum class Codes { kAny, kHighest, kLowest, kOpposed, kPairs };

std::uint8_t item_code(Random& random, Codes kind) {
  if (kind == Codes::kHighest) return 255;
  if (kind == Codes::kLowest || kind == Codes::kOpposed) return 0;
  if (kind == Codes::kPairs) {
    constexpr std::uint8_t kEnds[] = {0, 1, 127, 128, 129, 254, 255, 255};
    return kEnds[random.below(8)];
  }
  return random.chance(0.2) ? (random.chance(0.5) ? 0 : 255) : static_cast<std::uint8_t>(random.below(256));
}

std::int8_t query_code(Random& random, Codes kind) {
  if (kind == Codes::kHighest || kind == Codes::kOpposed) return 127;
  if (kind == Codes::kLowest) return -127;
  if (kind == Codes::kPairs) {
    constexpr int kSizes[] = {1, 2, 63, 64, 65, 126, 127, 127};
    const int size = kSizes[random.below(8)];
    return static_cast<std::int8_t>(random.chance(0.5) ? size : -size);
  }
  return static_cast<std::int8_t>(random.chance(0.2) ? (random.chance(0.5) ? -127 : 127)
                                                     : random.between(-127, 127));
}

Case make_case(Random& random, std::size_t n0, std::size_t n1, std::size_t n_queries, Codes kind) {
  Case made{{n0, n1}, n_queries, random.below(16), {}, {}, {}, {}};
  made.block_bytes.resize(made.shift + (n0 + n1) * kQuadBytes);
  for (std::uint8_t& code : made.block_bytes) code = item_code(random, kind);
  made.code_bytes.resize(made.shift + n_queries * made.stride());
  for (std::int8_t& code : made.code_bytes) code = query_code(random, kind);
  for (std::size_t i = 0; i < n_queries; ++i) {
    for (std::size_t p = 0; p < 2; ++p) {
      std::int32_t sum = 0;
      for (std::size_t d = 0; d < 4 * made.n_quads[p]; ++d) sum += made.codes(i, p)[d];
      made.offsets.push_back(128 * sum);
      made.scales.push_back(static_cast<float>(0.001 + random.uniform()));
    }
  }
  return made;
}

struct Size {
  std::size_t n0;
  std::size_t n1;
  std::size_t n_queries;
  Codes kind = Codes::kAny;
};

const std::vector<Size>& sizes() {
  static const std::vector<Size> all = [] {
    std::vector<Size> made;
    for (std::size_t n_queries = 0; n_queries <= 9; ++n_queries) made.push_back({16, 8, n_queries});
    for (const std::size_t n : {1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 15u, 17u, 31u, 33u, 250u}) {
      made.push_back({n, 1 + n / 3, 19});
    }
    for (const Codes kind : {Codes::kHighest, Codes::kLowest, Codes::kOpposed}) {
      made.push_back({kMaxQuads - 100, 100, 5, kind});
      made.push_back({16, 3, 33, kind});
    }
    // On both sides of the numbers of quads up to which levels sum in fewer bits.
    for (const std::size_t n : {1u, 7u, 16u, 63u, 64u, 65u, 71u, 127u, 128u, 129u, 200u}) {
      for (const Codes kind : {Codes::kHighest, Codes::kLowest, Codes::kOpposed, Codes::kPairs}) {
        made.push_back({n, 1 + n % 70, 4, kind});
      }
    }
    return made;
  }();
  return all;
}

// Queries in any order and number, as a block's choice leaves them.
std::vector<std::uint32_t> choose_queries(Random& random, std::size_t n_queries) {
  std::vector<std::uint32_t> which;
  for (std::uint32_t i = 0; i < n_queries; ++i) {
    if (random.chance(0.8)) which.push_back(i);
  }
  for (std::size_t i = 1; i < which.size(); ++i) std::swap(which[i], which[random.below(i + 1)]);
  return which;
}

TEST_CASE("sums of a part equal sums in 64 bits") {
  Random random(1);
  for (const Size& size : sizes()) {
    const Case made = make_case(random, size.n0, size.n1, size.n_queries, size.kind);
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      CAPTURE(size.n0);
      for (std::size_t i = 0; i < std::min<std::size_t>(size.n_queries, 3); ++i) {
        for (std::size_t p = 0; p < 2; ++p) {
          std::vector<std::int32_t> sums(kBlockItems);
          kernels_for(level).sum_part_i8(made.block(p), made.codes(i, p), made.n_quads[p],
                                         made.offsets[2 * i + p], sums.data());
          for (std::size_t j = 0; j < kBlockItems; ++j) REQUIRE(sums[j] == made.sum(i, p, j));
        }
      }
    }
  }
}

// Some threshold is just met, some just missed, some out of reach.
std::int32_t threshold_near(Random& random, std::int64_t sum) {
  constexpr std::int64_t kLimit = std::int64_t{1} << 30;
  const std::int64_t choices[] = {sum, sum + 1, sum - 1, kLimit, -kLimit, 0};
  return static_cast<std::int32_t>(choices[random.below(6)]);
}

TEST_CASE("masks of one part hold exactly the sums that reach the threshold") {
  Random random(2);
  for (const Size& size : sizes()) {
    const Case made = make_case(random, size.n0, size.n1, size.n_queries, size.kind);
    const std::vector<std::uint32_t> which = choose_queries(random, size.n_queries);
    std::vector<std::int32_t> thresholds;
    std::vector<std::uint64_t> expected;
    for (const std::uint32_t i : which) {
      thresholds.push_back(threshold_near(random, made.sum(i, 0, random.below(kBlockItems))));
      std::uint64_t mask = 0;
      for (std::size_t j = 0; j < kBlockItems; ++j) {
        mask |= std::uint64_t{made.sum(i, 0, j) >= thresholds.back()} << j;
      }
      expected.push_back(mask);
    }
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      CAPTURE(size.n0);
      for (const std::uint8_t* fetched : {static_cast<const std::uint8_t*>(nullptr), made.block()}) {
        std::vector<std::uint64_t> masks(which.size());
        kernels_for(level).scan_part_i8(made.block(), made.view(), which.data(), thresholds.data(),
                                        which.size(), masks.data(), fetched);
        REQUIRE(masks == expected);
      }
    }
  }
}

// Blocks asked for ahead follow each other, or do not, or are fewer; with a second part, there are gaps.
TEST_CASE("a list of blocks has the masks of its blocks one by one") {
  Random random(4);
  constexpr std::size_t kBlocks = 6;
  const std::vector<std::uint32_t> blocks{4, 0, 2, 3, 5};
  const std::vector<std::uint32_t> ahead{1, 2, 3, 0, 5};
  for (const Size& size : sizes()) {
    const Case made = make_case(random, size.n0, size.n1, 1, size.kind);
    const std::size_t block_bytes = (size.n0 + size.n1) * kQuadBytes;
    std::vector<std::uint8_t> codes(kBlocks * block_bytes);
    for (std::uint8_t& code : codes) code = item_code(random, size.kind);
    std::vector<std::int32_t> thresholds;
    std::vector<std::uint64_t> expected(blocks.size());
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      const std::uint32_t query = 0;
      thresholds.push_back(threshold_near(random, made.sum(0, 0, random.below(kBlockItems))));
      scan_part_i8_scalar(codes.data() + blocks[i] * block_bytes, made.view(), &query, &thresholds[i], 1,
                          &expected[i], nullptr);
    }
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      CAPTURE(size.n0);
      for (const std::size_t n_ahead : {std::size_t{0}, std::size_t{3}, ahead.size()}) {
        std::vector<std::uint64_t> masks(blocks.size());
        kernels_for(level).scan_blocks_i8(codes.data(), block_bytes, made.view(), 0, blocks.data(),
                                          thresholds.data(), blocks.size(), ahead.data(), n_ahead,
                                          masks.data());
        REQUIRE(masks == expected);
      }
    }
  }
}

// In float32 levels may differ within their roundings: outside of them every bit is settled.
TEST_CASE("masks of two parts hold the sums that clearly reach the threshold and no others") {
  Random random(3);
  for (const Size& size : sizes()) {
    const Case made = make_case(random, size.n0, size.n1, size.n_queries, size.kind);
    const std::vector<std::uint32_t> which = choose_queries(random, size.n_queries);
    const float block_scales[2] = {0.75f, 0.3f};
    const auto term = [&](std::size_t i, std::size_t p, std::size_t j) {
      return double{block_scales[p]} * double{made.scales[2 * i + p]} *
             static_cast<double>(made.sum(i, p, j));
    };
    std::vector<float> thresholds;
    for (const std::uint32_t i : which) {
      const std::size_t j = random.below(kBlockItems);
      thresholds.push_back(static_cast<float>(term(i, 0, j) + term(i, 1, j)));
    }
    for (const SimdLevel level : supported_simd_levels()) {
      CAPTURE(std::string(simd_level_name(level)));
      CAPTURE(size.n0);
      std::vector<std::uint64_t> masks(which.size());
      kernels_for(level).scan_parts_i8(made.block(), block_scales, made.view(), which.data(),
                                       thresholds.data(), which.size(), masks.data(),
                                       random.chance(0.5) ? made.block() : nullptr);
      for (std::size_t at = 0; at < which.size(); ++at) {
        for (std::size_t j = 0; j < kBlockItems; ++j) {
          const double first = term(which[at], 0, j);
          const double second = term(which[at], 1, j);
          const double distance = first + second - double{thresholds[at]};
          const double room = gamma_float32(4) * (std::fabs(first) + std::fabs(second));
          if (std::fabs(distance) > room) REQUIRE(((masks[at] >> j) & 1) == (distance > 0.0 ? 1u : 0u));
        }
      }
    }
  }
}

}  // namespace
}  // namespace dpr::test
