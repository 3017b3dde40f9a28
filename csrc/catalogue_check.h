// Checks of item vectors and sizes, shared by everything that takes them.
#pragma once

#include <cstddef>

#include "catalogue_view.h"

namespace dpr {

// At least one item and one dimension, at most 2^32 - 2 items; std::invalid_argument otherwise.
void check_size(const CatalogueView& view);

// std::invalid_argument naming row and column of the first value that is not finite.
void check_vectors(const char* name, const float* vectors, std::size_t n, std::size_t dim);

// Returns threads, at most kMaxThreads; std::invalid_argument for 0.
std::size_t checked_threads(std::size_t threads);

}  // namespace dpr
