// Compares the AMX kernels with the scalar and the AVX-512 ones, bit for bit, on a machine without AMX.
// Compiled with DPR_AMX_MODEL the kernels call the model; without, their instructions are trapped.
#include <stdio.h>
#include <limits>
#include <random>
#include <vector>

#include "amx_trap.h"
#include "guarded_bytes.h"
#include "kernels/scan_i8.h"

namespace {

using dpr::kBlockItems;
using dpr::kQuadBytes;
using dpr::test::GuardedBytes;

std::mt19937_64 random_bits(20260711);

std::size_t below(std::size_t n) { return random_bits() % n; }

enum class Codes { kRandom, kHighest, kLowest };

std::uint8_t item_code(Codes kind) {
  return kind == Codes::kRandom ? static_cast<std::uint8_t>(below(256)) : std::uint8_t{255};
}

std::int8_t query_code(Codes kind) {
  if (kind == Codes::kRandom) return static_cast<std::int8_t>(static_cast<int>(below(255)) - 127);
  return kind == Codes::kHighest ? std::int8_t{127} : std::int8_t{-127};
}

struct Case {
  std::size_t n_quads[2];
  std::size_t n;  // queries that are scanned
  Codes kind;
};

constexpr std::size_t kQueries = 40;
constexpr std::uint64_t kUntouched = 0x5eed5eed5eed5eedu;

class Comparison {
 public:
  explicit Comparison(const Case& shape);
  bool agrees_part();
  bool agrees_parts();

 private:
  std::vector<std::int32_t> sums(std::size_t i, std::size_t part);

  Case shape_;
  std::size_t stride_;
  GuardedBytes block_;
  GuardedBytes codes_;
  std::vector<std::int32_t> offsets_;
  std::vector<float> scales_;
  std::vector<std::uint32_t> which_;
  dpr::CodedQueries queries_;
};

Comparison::Comparison(const Case& shape)
    : shape_(shape),
      stride_(4 * (shape.n_quads[0] + shape.n_quads[1])),
      block_((shape.n_quads[0] + shape.n_quads[1]) * kQuadBytes),
      codes_(kQueries * stride_),
      offsets_(2 * kQueries),
      scales_(2 * kQueries) {
  for (std::size_t i = 0; i < kBlockItems * stride_; ++i) block_.data()[i] = item_code(shape.kind);
  auto* codes = reinterpret_cast<std::int8_t*>(codes_.data());
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (std::size_t d = 0; d < stride_; ++d) {
      codes[q * stride_ + d] = query_code(shape.kind);
      offsets_[2 * q + (d < 4 * shape.n_quads[0] ? 0 : 1)] += 128 * codes[q * stride_ + d];
    }
    for (std::size_t p = 0; p < 2; ++p) scales_[2 * q + p] = static_cast<float>(1 + below(1000)) * 0x1p-12f;
  }
  for (std::size_t i = 0; i < shape.n; ++i) which_.push_back(static_cast<std::uint32_t>(below(kQueries)));
  queries_ = {codes, stride_, offsets_.data(), scales_.data(), {shape.n_quads[0], shape.n_quads[1]}};
}

std::vector<std::int32_t> Comparison::sums(std::size_t i, std::size_t part) {
  const std::size_t skipped = part == 0 ? 0 : shape_.n_quads[0];
  std::vector<std::int32_t> found(kBlockItems);
  dpr::sum_part_i8_scalar(block_.data() + skipped * kQuadBytes,
                          queries_.codes + which_[i] * stride_ + 4 * skipped, shape_.n_quads[part],
                          offsets_[2 * which_[i] + part], found.data());
  return found;
}

// Thresholds at, just above or just below a sum, and now and then at the ends of int32.
bool Comparison::agrees_part() {
  std::vector<std::int32_t> thresholds;
  for (std::size_t i = 0; i < shape_.n; ++i) {
    const std::int32_t sum = sums(i, 0)[below(kBlockItems)];
    const std::int32_t choices[] = {sum,
                                    sum + 1,
                                    sum - 1,
                                    sum,
                                    std::numeric_limits<std::int32_t>::max(),
                                    std::numeric_limits<std::int32_t>::min()};
    thresholds.push_back(choices[below(6)]);
  }
  std::vector<std::uint64_t> expected(shape_.n + 1, kUntouched);
  std::vector<std::uint64_t> found(shape_.n + 1, kUntouched);
  dpr::scan_part_i8_scalar(block_.data(), queries_, which_.data(), thresholds.data(), shape_.n,
                           expected.data(), nullptr);
  dpr::scan_part_i8_amx(block_.data(), queries_, which_.data(), thresholds.data(), shape_.n, found.data(),
                        nullptr);
  return found == expected;
}

bool Comparison::agrees_parts() {
  const float block_scales[2] = {0x1.2p-5f, 0x1.9p-6f};
  std::vector<float> thresholds;
  for (std::size_t i = 0; i < shape_.n; ++i) {
    const std::size_t j = below(kBlockItems);
    const float f0 = block_scales[0] * scales_[2 * which_[i]];
    const float f1 = block_scales[1] * scales_[2 * which_[i] + 1];
    thresholds.push_back(f0 * static_cast<float>(sums(i, 0)[j]) + f1 * static_cast<float>(sums(i, 1)[j]));
  }
  std::vector<std::uint64_t> expected(shape_.n + 1, kUntouched);
  std::vector<std::uint64_t> found(shape_.n + 1, kUntouched);
  dpr::scan_parts_i8_avx512vnni(block_.data(), block_scales, queries_, which_.data(), thresholds.data(),
                                shape_.n, expected.data(), nullptr);
  dpr::scan_parts_i8_amx(block_.data(), block_scales, queries_, which_.data(), thresholds.data(), shape_.n,
                         found.data(), nullptr);
  return found == expected;
}

bool check(const Case& shape) {
  Comparison comparison(shape);
  const bool part = comparison.agrees_part();
  const bool parts = comparison.agrees_parts();
  const bool released = !amx_model::state().is_configured;
  if (part && parts && released) return true;
  printf("quads %zu + %zu, %zu queries, codes %d: part %s, parts %s, tiles %s\n", shape.n_quads[0],
         shape.n_quads[1], shape.n, static_cast<int>(shape.kind), part ? "same" : "DIFFER",
         parts ? "same" : "DIFFER", released ? "released" : "NOT RELEASED");
  return false;
}

}  // namespace

int main() {
#ifndef DPR_AMX_MODEL
  amx_trap::install();
#endif
  constexpr std::size_t kFirst[] = {1, 2, 15, 16, 17, 25, 32, 33, 64};
  constexpr std::size_t kSecond[] = {1, 8, 9, 16, 17, 32};
  constexpr std::size_t kCounts[] = {1, 7, 8, 15, 16, 17, 24, 31, 32, 39};
  std::size_t n_wrong = 0;
  std::size_t n_cases = 0;
  for (const std::size_t first : kFirst) {
    for (const std::size_t second : kSecond) {
      for (const std::size_t n : kCounts) {
        for (const Codes kind : {Codes::kRandom, Codes::kHighest, Codes::kLowest}) {
          n_wrong += check({{first, second}, n, kind}) ? 0 : 1;
          ++n_cases;
        }
      }
    }
  }
  const Case largest{{dpr::kMaxQuads - 3, 3}, 16, Codes::kLowest};
  n_wrong += check(largest) ? 0 : 1;
  printf("%zu cases, %zu wrong, %zu products of tiles\n", n_cases + 1, n_wrong, amx_model::n_products());
  return n_wrong == 0 && amx_model::n_products() > 0 ? 0 : 1;
}
