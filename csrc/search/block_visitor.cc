#include "search/block_visitor.h"

namespace dpr {

void BlockVisitor::visit(const std::uint32_t* blocks, std::size_t n, std::size_t line,
                         const std::uint32_t* ahead, std::size_t n_ahead, QueryState& state) {
  std::uint64_t slots[kGroup];
  lines_[line].slots_of_blocks(blocks, n, state.floor(), ahead, n_ahead, slots);
  n_visited_ += n;
  for (std::size_t i = 0; i < n; ++i) {
    if (slots[i] != 0) push_items(blocks[i], slots[i], state);
  }
}

void BlockVisitor::push_items(std::size_t block, std::uint64_t slots, QueryState& state) {
  if (!away_.is_empty()) slots = away_.refine(block, slots, state.floor(), lines_.query());
  for (; slots != 0; slots &= slots - 1) {
    rescorer_.push(state, pending_, index_.rows(block)[__builtin_ctzll(slots)]);
  }
}

}  // namespace dpr
