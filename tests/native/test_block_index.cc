// Arrays that are no index are refused with a message that names what is wrong, and a wrong bound is found.
#include <doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "index/block_index.h"
#include "index/build_index.h"
#include "index/error_bound.h"
#include "random_input.h"

namespace dpr::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// 2100 items in two clusters of a block or more, the last block not full.
struct Built {
  Items items;
  Parts parts;
  OwnedIndex index;

  std::size_t n_blocks() const { return index.cluster.size(); }
  float& bound(std::size_t part, Bound kind, std::size_t block) {
    return index.bounds[(part * kBoundKinds + static_cast<std::size_t>(kind)) * n_blocks() + block];
  }
  BlockIndex make() const { return BlockIndex(index.arrays(items.dim), parts, items.n); }
};

Built build() {
  Random random(1);
  Items items = clustered_items(random, 2100, 10);
  const Parts parts = Parts::from_widths({7, 3}, 10);
  OwnedIndex index = build_index(items.view(), parts, kernels_for(supported_simd_levels().back()), 1);
  REQUIRE(index.centres.size() == 10);  // so few items make one cluster: its second half becomes another
  const std::vector<float> centre = index.centres;
  index.centres.insert(index.centres.end(), centre.begin(), centre.end());
  std::fill(index.cluster.begin() + static_cast<std::ptrdiff_t>(index.cluster.size() / 2),
            index.cluster.end(), 1u);
  return {std::move(items), parts, std::move(index)};
}

std::string message_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "accepted";
}

bool contains(const std::string& text, const std::string& wanted) {
  return text.find(wanted) != std::string::npos;
}

TEST_CASE("what was built is accepted and its bounds hold") {
  const Built built = build();
  REQUIRE(built.n_blocks() > 32);
  const BlockIndex index = built.make();
  CHECK(index.n_clusters() == 2);
  index.check_bounds(built.items.view());
}

TEST_CASE("arrays that are no index are refused") {
  struct Case {
    std::string message;
    std::function<void(Built&)> spoil;
  };
  const Case cases[] = {
      {"rows of block 0: expected each item of 2100 once",
       [](Built& b) { b.index.rows[1] = b.index.rows[0]; }},
      {"rows of block 0: expected each item of 2100 once", [](Built& b) { b.index.rows[0] = 2100; }},
      {"got 4294967294 in slot 3", [](Built& b) { b.index.rows[3] = 0xfffffffe; }},
      {"no gaps, got", [](Built& b) { b.index.rows[5] = kEmptySlot; }},
      {"rows of block 1: expected at least one item, got none",
       [](Built& b) { std::fill_n(b.index.rows.begin() + kBlockItems, kBlockItems, kEmptySlot); }},
      {"rows: expected all 2100 items, got 2099",
       [](Built& b) { b.index.rows[kBlockItems - 1] = kEmptySlot; }},
      {"cluster of block 0: expected a number below 2", [](Built& b) { b.index.cluster[0] = 2; }},
      {"cluster of block 1: expected a number below 2 that never falls, got 0",
       [](Built& b) { b.index.cluster[0] = 1; }},
      {"scale of block 2: expected at least 2^-60",
       [](Built& b) { b.bound(0, Bound::kScale, 2) = 0x1p-61f; }},
      {"scale of block 2: expected a finite number >= 0",
       [](Built& b) { b.bound(1, Bound::kScale, 2) = kNan; }},
      {"code_error of block 3: expected a finite number >= 0",
       [](Built& b) { b.bound(0, Bound::kCodeError, 3) = kInfinity; }},
      {"code_norm of block 4: expected", [](Built& b) { b.bound(1, Bound::kCodeNorm, 4) = -1.0f; }},
      {"norm of block 0: expected", [](Built& b) { b.bound(1, Bound::kNorm, 0) = kNan; }},
      {"along_min of block 0: expected a finite number, got",
       [](Built& b) { b.bound(0, Bound::kAlongMin, 0) = -kInfinity; }},
      {"along_max of block 0: expected a finite number, got",
       [](Built& b) { b.bound(1, Bound::kAlongMax, 0) = kNan; }},
      {"across of block 1: expected a finite number >= 0",
       [](Built& b) { b.bound(0, Bound::kAcross, 1) = -1e-30f; }},
      {"centre 1: expected parts no longer than 1", [](Built& b) { b.index.centres[10] += 2.0f; }},
      {"centre 0: expected parts no longer than 1", [](Built& b) { b.index.centres[9] = kNan; }},
      {"centre 0: expected parts no longer than 1", [](Built& b) { b.index.centres[0] = kInfinity; }},
  };
  const Built untouched = build();
  for (const Case& one : cases) {
    CAPTURE(one.message);
    Built spoiled = untouched;
    one.spoil(spoiled);
    const std::string message = message_of([&] { spoiled.make(); });
    CAPTURE(message);
    CHECK(contains(message, one.message));
  }
}

TEST_CASE("no blocks, no clusters, another number of items") {
  const Built built = build();
  IndexArrays arrays = built.index.arrays(built.items.dim);
  CHECK(contains(message_of([&] { BlockIndex(arrays, built.parts, 2099); }), "each item of 2099 once"));
  CHECK(contains(message_of([&] { BlockIndex(arrays, built.parts, 2101); }), "all 2101 items, got 2100"));
  arrays.n_clusters = 0;
  CHECK(contains(message_of([&] { BlockIndex(arrays, built.parts, 2100); }), "at least one of each"));
  arrays = built.index.arrays(built.items.dim);
  arrays.n_blocks = 0;
  CHECK(contains(message_of([&] { BlockIndex(arrays, built.parts, 2100); }), "at least one of each"));
}

TEST_CASE("widths of parts") {
  const auto refused = [](const std::vector<std::size_t>& widths, std::size_t dim) {
    return contains(message_of([&] { Parts::from_widths(widths, dim); }), "parts: expected");
  };
  CHECK(refused({}, 4));
  CHECK(refused({3}, 4));
  CHECK(refused({4, 0}, 4));
  CHECK(refused({1, 1, 2}, 4));
  CHECK(refused({~std::size_t{0}, 5}, 4));  // sums to 4, modulo the word
  CHECK(refused({4 * kMaxQuads + 1}, 4 * kMaxQuads + 1));
  CHECK(Parts::from_widths({5, 2}, 7).n_quads() == 3);
}

TEST_CASE("a bound that does not hold is found, and named") {
  const Built untouched = build();
  const Bound kinds[] = {Bound::kCodeError, Bound::kCodeNorm, Bound::kNorm,
                         Bound::kAlongMin,  Bound::kAlongMax, Bound::kAcross};
  const char* names[] = {"code_error", "code_norm", "norm", "along_min", "along_max", "across"};
  for (std::size_t kind = 0; kind < 6; ++kind) {
    for (std::size_t part = 0; part < 2; ++part) {
      Built spoiled = untouched;
      float& value = spoiled.bound(part, kinds[kind], 7);
      // One unit in the last place to the wrong side.
      value = std::nextafter(value, kinds[kind] == Bound::kAlongMin ? kInfinity : -kInfinity);
      const BlockIndex index = spoiled.make();
      const std::string message = message_of([&] { index.check_bounds(spoiled.items.view()); });
      CAPTURE(message);
      CHECK(contains(message, std::string(names[kind]) + " of block 7, part " + std::to_string(part)));
    }
  }
}

TEST_CASE("codes, vectors and centres that the bounds were not made for are found") {
  const Built untouched = build();
  const auto message = [](const Built& spoiled) {
    const BlockIndex index = spoiled.make();
    return message_of([&] { index.check_bounds(spoiled.items.view()); });
  };
  Built other_codes = untouched;
  other_codes.index.codes[0] ^= 0x80;
  CHECK(contains(message(other_codes), "of block 0, part 0: expected a bound on all its items"));
  Built longer_item = untouched;
  longer_item.items.vectors[longer_item.index.rows[70] * 10] *= 2.0f;
  CHECK(contains(message(longer_item),
                 "that item row " + std::to_string(longer_item.index.rows[70]) + " breaks"));
  Built other_centre = untouched;
  other_centre.index.centres[0] *= 0.5f;
  CHECK(contains(message(other_centre), "of block 0, part 0: expected a bound on all its items"));
}

}  // namespace
}  // namespace dpr::test
