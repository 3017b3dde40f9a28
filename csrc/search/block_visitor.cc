#include "search/block_visitor.h"

namespace dpr {

void BlockVisitor::visit(std::size_t block, QueryState& state) {
  ++n_visited_;
  std::uint64_t mask = query_.slots_at_least(block, state.floor() - query_.code_error(block));
  if (mask == 0) return;
  if (!away_.is_empty()) mask = away_.refine(block, mask, state.floor(), query_);
  for (; mask != 0; mask &= mask - 1) {
    rescorer_.push(state, pending_, index_.rows(block)[__builtin_ctzll(mask)]);
  }
}

}  // namespace dpr
