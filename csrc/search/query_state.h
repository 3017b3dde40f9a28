// What a search knows of one query while it runs.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "gating.h"
#include "search/top_k.h"

namespace dpr {

// Sums of work done, for benchmarks.
struct SearchCounts {
  std::uint64_t n_pairs = 0;          // (block, query) pairs there were
  std::uint64_t n_pairs_scanned = 0;  // of them, those whose codes were read
  std::uint64_t n_rescored = 0;       // canonical dot products with a query vector
  std::uint64_t n_pieces = 0;         // that the queries were cut into, for threads to take

  void add(const SearchCounts& other) {
    n_pairs += other.n_pairs;
    n_pairs_scanned += other.n_pairs_scanned;
    n_rescored += other.n_rescored;
    n_pieces += other.n_pieces;
  }
};

struct QueryState {
  QueryState(std::size_t query, SteeredQuery steered_query, std::size_t k)
      : number(query), steered(std::move(steered_query)), best(k) {}

  // At least k items that the query may be given score this much or more; items below it are of no interest.
  float floor() const { return std::max(known_floor, best.floor()); }

  std::size_t number;  // in the batch
  SteeredQuery steered;
  TopK best;
  float known_floor = -std::numeric_limits<float>::infinity();
};

}  // namespace dpr
