#include "catalogue_check.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "index/block_index.h"
#include "query_batch.h"
#include "threads/parallel_for.h"

namespace dpr {

void check_size(const CatalogueView& view) {
  if (view.n_items == 0 || view.dim == 0) {
    throw std::invalid_argument("vectors: expected at least one item and one dimension, got shape (" +
                                std::to_string(view.n_items) + ", " + std::to_string(view.dim) + ")");
  }
  if (view.n_items >= kEmptySlot) {
    throw std::invalid_argument("vectors: expected at most 2^32 - 2 items, got " +
                                std::to_string(view.n_items));
  }
}

void check_vectors(const char* name, const float* vectors, std::size_t n, std::size_t dim) {
  const std::size_t place = find_not_finite(vectors, n * dim);
  if (place == n * dim) return;
  throw std::invalid_argument(std::string(name) + ", row " + std::to_string(place / dim) + ", column " +
                              std::to_string(place % dim) + ": expected a finite number, got " +
                              std::to_string(vectors[place]));
}

std::size_t checked_threads(std::size_t threads) {
  if (threads == 0) throw std::invalid_argument("threads: expected a number >= 1, got 0");
  return std::min(threads, kMaxThreads);
}

}  // namespace dpr
