// The block bounds compiled for the baseline instruction set (SSE2, or NEON on AArch64).
#include "kernels/block_bounds_portable.h"

namespace dpr {

void add_bounds_scalar(const PartBounds& part, const uint32_t* cluster_begin, size_t n_clusters,
                       const float* along, const float* across, float norm, float* upper) {
  add_bounds_loop(part, cluster_begin, n_clusters, along, across, norm, upper);
}

size_t select_at_least_scalar(const float* values, size_t n, float floor, uint32_t* places) {
  return select_at_least_loop(values, n, floor, places);
}

void scale_sums_scalar(const int32_t* sums, float factor, bool add, float* values) {
  scale_sums_loop(sums, factor, add, values);
}

void take_lower_scalar(const float* of_line, uint32_t number, size_t n, float* upper, uint32_t* line) {
  take_lower_loop(of_line, number, n, upper, line);
}

void raise_maxima_scalar(const float* values, float shift, float* maxima) {
  raise_maxima_loop(values, shift, maxima);
}

void upper_of_queries_scalar(const BlockBounds& block, const QueryBounds& queries, size_t n_parts,
                             float* upper) {
  upper_of_queries_loop(block, queries, n_parts, upper);
}

size_t select_queries_part_scalar(const BlockBounds& block, const QueryBounds& queries, bool all,
                                  uint32_t* which, int32_t* thresholds) {
  return select_queries_part_loop(block, queries, all, which, thresholds);
}

size_t select_queries_parts_scalar(const BlockBounds& block, const QueryBounds& queries, bool all,
                                   uint32_t* which, float* thresholds) {
  return select_queries_parts_loop(block, queries, all, which, thresholds);
}

}  // namespace dpr
