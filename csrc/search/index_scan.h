// Search over a block index: bounds decide which blocks are read, int8 sums which items are scored exactly.
#pragma once

#include <cstddef>

#include "dispatch.h"
#include "score_rule.h"
#include "search/query_state.h"
#include "search/row_filter.h"
#include "search/segment.h"

namespace dpr {

// What the scans below work on; the segment has an index.
struct ScanContext {
  const Segment& segment;
  const RowFilter& filter;
  const KernelTable& kernels;
  const ScoreRule& rule;
};

// Whether all bounds of the query stay within float32; otherwise the index must not be used for it.
bool is_within_bounds(const BlockIndex& index, const SteeredQuery& query);

// True when the query or an away expert has something in part 1, so that both parts' codes must be read.
bool needs_both_parts(const BlockIndex& index, const SteeredQuery& query);

// One query over all blocks; shares the blocks among `threads`.
void scan_single(const ScanContext& context, QueryState& state, std::size_t k, std::size_t threads,
                 SearchCounts& counts);

// Many queries, block by block. All or none of them need both parts.
void scan_batch(const ScanContext& context, QueryState* const* states, std::size_t n_states, std::size_t k,
                bool both_parts, SearchCounts& counts);

}  // namespace dpr
