// Scanning one block for one query.
#pragma once

#include <cstddef>
#include <cstdint>

#include "search/index_scan.h"
#include "search/probe.h"
#include "search/rescorer.h"

namespace dpr {

class BlockVisitor {
 public:
  BlockVisitor(const ScanContext& context, const ProbeVector& query, const AwayProbe& away)
      : context_(context),
        index_(*context.segment.index),
        query_(query),
        away_(away),
        rescorer_(context.segment, context.filter, context.kernels, context.rule) {}

  // Most blocks that are scanned with one look at the floor.
  static constexpr std::size_t kGroup = 16;

  // Pushes every item of n <= kGroup blocks that may reach the state's floor.
  void visit(const std::uint32_t* blocks, std::size_t n, QueryState& state);
  void finish(QueryState& state) { rescorer_.flush(state, pending_); }

  void add_counts(SearchCounts& counts) const {
    counts.n_pairs_scanned += n_visited_;
    counts.n_rescored += rescorer_.n_rescored();
  }

 private:
  void push_items(std::size_t block, std::uint64_t slots, QueryState& state);

  const ScanContext& context_;
  const BlockIndex& index_;
  const ProbeVector& query_;
  const AwayProbe& away_;
  Rescorer rescorer_;
  Pending pending_;
  std::uint64_t n_visited_ = 0;
};

}  // namespace dpr
