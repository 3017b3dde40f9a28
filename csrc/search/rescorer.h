// Canonical scores of single items, gathered a few at a time so that their memory is fetched together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "dispatch.h"
#include "score_rule.h"
#include "search/query_state.h"
#include "search/row_filter.h"
#include "search/segment.h"

namespace dpr {

// Items waiting for their score: as many as one call of the gathering kernel takes together.
struct Pending {
  static constexpr std::size_t kRoom = 16;
  std::uint32_t places[kRoom];
  std::size_t count = 0;
};

class Rescorer {
 public:
  Rescorer(const Segment& segment, const RowFilter& filter, const KernelTable& kernels, const ScoreRule& rule)
      : segment_(segment), filter_(filter), kernels_(kernels), rule_(rule) {}

  // Notes an item; scores all that wait when there is no more room. The item is offered to state.best if the
  // query may be given it.
  void push(QueryState& state, Pending& pending, std::size_t place);
  void flush(QueryState& state, Pending& pending);

  std::uint64_t n_rescored() const { return n_rescored_; }

 private:
  void prefetch(std::size_t place) const;
  void offer(QueryState& state, const std::uint32_t* places, const float* dots, std::size_t count);

  const Segment& segment_;
  const RowFilter& filter_;
  const KernelTable& kernels_;
  const ScoreRule& rule_;
  std::vector<float> projections_;  // (away experts, Pending::kRoom)
  std::uint64_t n_rescored_ = 0;
};

}  // namespace dpr
