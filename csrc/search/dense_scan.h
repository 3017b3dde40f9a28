// The float32 scan of a whole segment, tile by tile: for items without an index, and where bounds would not
// hold (huge norms).
#pragma once

#include "dispatch.h"
#include "score_rule.h"
#include "search/query_state.h"
#include "search/row_filter.h"
#include "search/segment.h"

namespace dpr {

// Offers every item of the segment that a query may be given to the query's state. Returns how many canonical
// dot products it took.
std::uint64_t dense_scan(const Segment& segment, const RowFilter& filter, const KernelTable& kernels,
                         const ScoreRule& rule, QueryState* const* states, std::size_t n_states);

}  // namespace dpr
