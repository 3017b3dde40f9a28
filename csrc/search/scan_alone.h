// One query over all blocks, once it has a first floor.
#pragma once

#include <cstddef>

#include "search/away_probe.h"
#include "search/index_scan.h"
#include "search/penalty_lines.h"

namespace dpr {

// The lines have their terms, and warm_up has seen to the state.
void scan_alone(const ScanContext& context, const QueryLines& lines, const AwayProbe& away, QueryState& state,
                std::size_t k, std::size_t threads, SearchCounts& counts);

}  // namespace dpr
