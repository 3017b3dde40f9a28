// A first floor for a query.
#pragma once

#include <cstddef>

#include "search/away_probe.h"
#include "search/index_scan.h"
#include "search/penalty_lines.h"

namespace dpr {

// Raises state.known_floor by scanning the most promising blocks, a few of them. Leaves state.best alone.
void warm_up(const ScanContext& context, const QueryLines& lines, const AwayProbe& away, QueryState& state,
             std::size_t k, SearchCounts& counts);

}  // namespace dpr
