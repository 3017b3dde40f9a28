// Fuzzes the arrays of an index. A sound index over items of the fuzzer's choice has some of its bytes
// changed; if BlockIndex still accepts it, searches must neither crash nor meet undefined behaviour; if
// check_bounds accepts it too, their answers must be exact.
#include <fuzzer/FuzzedDataProvider.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <optional>
#include <stdexcept>
#include <vector>

#include "arranged_index.h"
#include "exact_answer.h"
#include "fp_environment.h"

namespace dpr::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Exponents that meet the limits of bounds and of float32.
float any_size(FuzzedDataProvider& input) {
  static constexpr float kSizes[] = {1.0f, 1.0f, 1.0f, 0.0f, 1e-44f, 1e-20f, 1e14f, 1e15f, 1e18f, 1e30f};
  return input.PickValueInArray(kSizes);
}

void scale_all(FuzzedDataProvider& input, std::vector<float>& values) {
  const float size = any_size(input);
  for (float& value : values) value *= size;
}

Items make_items(FuzzedDataProvider& input, Random& random) {
  const auto dim = input.ConsumeIntegralInRange<std::size_t>(1, 9);
  const auto n = input.ConsumeIntegralInRange<std::size_t>(1, 500);
  Items items = input.ConsumeBool() ? tied_items(random, n, dim) : clustered_items(random, n, dim);
  scale_all(input, items.vectors);
  return items;
}

Parts make_parts(FuzzedDataProvider& input, std::size_t dim) {
  const auto second = input.ConsumeIntegralInRange<std::size_t>(0, dim - 1);
  return second == 0 ? Parts::from_widths({dim}, dim) : Parts::from_widths({dim - second, second}, dim);
}

Queries make_queries(FuzzedDataProvider& input, Random& random, std::size_t dim) {
  const std::size_t n = input.ConsumeBool() ? 1 : 9;
  const auto n_away = input.ConsumeIntegralInRange<std::size_t>(0, 2);
  Queries queries = steered_queries(random, n, dim, n_away, input.ConsumeBool() ? "relu" : "softplus");
  for (std::vector<float>* values : {&queries.user, &queries.experts, &queries.gates})
    scale_all(input, *values);
  return queries;
}

template <class T>
void change_byte(FuzzedDataProvider& input, std::vector<T>& array) {
  if (array.empty()) return;
  const auto at = input.ConsumeIntegralInRange<std::size_t>(0, array.size() * sizeof(T) - 1);
  reinterpret_cast<std::uint8_t*>(array.data())[at] = input.ConsumeIntegral<std::uint8_t>();
}

float special_value(FuzzedDataProvider& input) {
  static constexpr float kValues[] = {0.0f,    -0.0f,    1e-45f,    0x1p-60f,
                                      1.0f,    -1.0f,    1e15f,     1e30f,
                                      3.4e38f, -3.4e38f, kInfinity, std::numeric_limits<float>::quiet_NaN()};
  return input.PickValueInArray(kValues);
}

void change_float(FuzzedDataProvider& input, std::vector<float>& array) {
  array[input.ConsumeIntegralInRange<std::size_t>(0, array.size() - 1)] = special_value(input);
}

// The same for all blocks.
void change_bound(FuzzedDataProvider& input, OwnedIndex& index) {
  const std::size_t n_blocks = index.cluster.size();
  const std::size_t n_kinds = index.bounds.size() / n_blocks;
  const auto first = input.ConsumeIntegralInRange<std::size_t>(0, n_kinds - 1) * n_blocks;
  std::fill_n(index.bounds.begin() + static_cast<std::ptrdiff_t>(first), n_blocks, special_value(input));
}

void change(FuzzedDataProvider& input, OwnedIndex& index) {
  switch (input.ConsumeIntegralInRange<int>(0, 7)) {
    case 0:
      return change_byte(input, index.codes);
    case 1:
      return change_byte(input, index.rows);
    case 2:
      return change_byte(input, index.cluster);
    case 3:
      return change_byte(input, index.bounds);
    case 4:
      return change_byte(input, index.centres);
    case 5:
      return change_float(input, index.bounds);
    case 6:
      return change_float(input, index.centres);
    default:
      return change_bound(input, index);
  }
}

bool holds(const BlockIndex& index, const CatalogueView& view) {
  try {
    index.check_bounds(view);
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

// Nothing when a score among the results, or a query, overflows.
template <class Search>
std::optional<Answer> answer_of(const Search& search) {
  try {
    return search();
  } catch (const std::invalid_argument&) {
    return std::nullopt;
  }
}

bool has_overflow(const Answer& answer) {
  for (std::size_t i = 0; i < answer.rows.size(); ++i) {
    float score;
    std::memcpy(&score, &answer.score_bits[i], sizeof(score));
    if (answer.rows[i] >= 0 && !std::isfinite(score)) return true;
  }
  return false;
}

void run(FuzzedDataProvider& input) {
  Random random(input.ConsumeIntegral<std::uint32_t>());
  const Items items = make_items(input, random);
  const Parts parts = make_parts(input, items.dim);
  const Queries queries = make_queries(input, random, items.dim);
  const Question question{queries, input.ConsumeIntegralInRange<std::size_t>(1, 40), 1 + random.below(2)};
  const SimdLevel level = supported_simd_levels()[random.below(supported_simd_levels().size())];
  const Arrangement arrangement{input.ConsumeIntegralInRange<std::size_t>(1, kBlockItems),
                                input.ConsumeIntegralInRange<std::size_t>(1, 90)};
  OwnedIndex owned = arranged_index(random, items, parts, arrangement);
  while (input.remaining_bytes() > 0) change(input, owned);

  std::optional<BlockIndex> index;
  try {
    index.emplace(owned.arrays(items.dim), parts, items.n);
  } catch (const std::invalid_argument&) {
    return;
  }
  CatalogueState catalogue{{items.view(), &*index, nullptr, nullptr, 0}, {}, nullptr, items.n};
  catalogue.recent.view = {nullptr, nullptr, 0, items.dim, 0};
  const auto got = answer_of([&] { return searched_answer(catalogue, level, question); });
  if (!holds(*index, items.view())) return;
  auto expected = answer_of([&] { return sorted_answer(catalogue, question); });
  if (expected && has_overflow(*expected)) expected = std::nullopt;
  if (!(got == expected)) std::abort();
}

}  // namespace
}  // namespace dpr::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input(data, size);
  const dpr::FpEnvironment environment;
  dpr::test::run(input);
  return 0;
}
