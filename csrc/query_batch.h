// A batch of queries as plain arrays, and the checks that make it safe to score.
#pragma once

#include <cstddef>

namespace dpr {

struct QueryBatch {
  const float* user;      // (n_queries, user_dim)
  const float* experts;   // (n_queries, n_experts, dim)
  const float* gates;     // (n_queries, n_experts)
  const float* strength;  // (n_queries,)
  std::size_t n_queries;
  std::size_t user_dim;  // <= dim
  std::size_t n_experts;
  std::size_t dim;
};

// Place of the first infinity or NaN, or `count` when all are finite.
std::size_t find_not_finite(const float* values, std::size_t count);

// Throws std::invalid_argument, naming the query, for what is not finite or, in gates and strength, negative.
void check_values(const QueryBatch& batch);

}  // namespace dpr
