// Value checks of a query batch.
#include "query_batch.h"

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

namespace dpr {
namespace {

// 1 for an infinity or NaN, else 0.
std::uint32_t is_not_finite(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return (bits & 0x7f800000u) == 0x7f800000u ? 1u : 0u;
}

[[noreturn]] void refuse(const char* name, std::size_t query, std::size_t element, const char* expected,
                         float got) {
  throw std::invalid_argument("query " + std::to_string(query) + ": " + name + ", element " +
                              std::to_string(element) + ": expected " + expected + ", got " +
                              std::to_string(got));
}

void check_finite(const char* name, const float* values, std::size_t n_queries, std::size_t per_query) {
  const std::size_t place = find_not_finite(values, n_queries * per_query);
  if (place == n_queries * per_query) return;
  refuse(name, place / per_query, place % per_query, "a finite number", values[place]);
}

void check_not_negative(const char* name, const float* values, std::size_t n_queries, std::size_t per_query) {
  for (std::size_t i = 0; i < n_queries * per_query; ++i) {
    if (values[i] < 0.0f) refuse(name, i / per_query, i % per_query, "a number >= 0", values[i]);
  }
}

}  // namespace

std::size_t find_not_finite(const float* values, std::size_t count) {
  // Sums as wide as the floats, without an early exit inside a block: the compiler makes this SIMD code.
  constexpr std::size_t kBlock = 1024;
  for (std::size_t start = 0; start < count; start += kBlock) {
    const std::size_t end = count - start < kBlock ? count : start + kBlock;
    std::uint32_t n_found = 0;
    for (std::size_t i = start; i < end; ++i) n_found += is_not_finite(values[i]);
    for (std::size_t i = start; n_found > 0 && i < end; ++i) {
      if (is_not_finite(values[i]) != 0) return i;
    }
  }
  return count;
}

void check_values(const QueryBatch& batch) {
  check_finite("user", batch.user, batch.n_queries, batch.user_dim);
  check_finite("experts", batch.experts, batch.n_queries, batch.n_experts * batch.dim);
  check_finite("gates", batch.gates, batch.n_queries, batch.n_experts);
  check_finite("strength", batch.strength, batch.n_queries, 1);
  check_not_negative("gates", batch.gates, batch.n_queries, batch.n_experts);
  check_not_negative("strength", batch.strength, batch.n_queries, 1);
}

}  // namespace dpr
