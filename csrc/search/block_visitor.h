// Scanning one block for one query.
#pragma once

#include <cstddef>
#include <cstdint>

#include "search/away_probe.h"
#include "search/index_scan.h"
#include "search/penalty_lines.h"
#include "search/rescorer.h"

namespace dpr {

class BlockVisitor {
 public:
  BlockVisitor(const ScanContext& context, const QueryLines& lines, const AwayProbe& away)
      : index_(*context.segment.index),
        lines_(lines),
        away_(away),
        rescorer_(context.segment, context.filter, context.kernels, context.rule) {}

  // Most blocks that are scanned with one look at the floor.
  static constexpr std::size_t kGroup = ProbeVector::kMostBlocks;

  // Pushes every item of n <= kGroup blocks that may reach the state's floor, as the given line tells. The
  // codes of the blocks `ahead`, n_ahead <= kGroup, are fetched meanwhile.
  void visit(const std::uint32_t* blocks, std::size_t n, std::size_t line, const std::uint32_t* ahead,
             std::size_t n_ahead, QueryState& state);
  void finish(QueryState& state) { rescorer_.flush(state, pending_); }

  void add_counts(SearchCounts& counts) const {
    counts.n_pairs_scanned += n_visited_;
    counts.n_rescored += rescorer_.n_rescored();
  }

 private:
  void push_items(std::size_t block, std::uint64_t slots, QueryState& state);

  const BlockIndex& index_;
  const QueryLines& lines_;
  const AwayProbe& away_;
  Rescorer rescorer_;
  Pending pending_;
  std::uint64_t n_visited_ = 0;
};

}  // namespace dpr
