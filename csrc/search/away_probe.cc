#include "search/away_probe.h"

#include "penalty.h"

namespace dpr {

AwayProbe::AwayProbe(const BlockIndex& index, const KernelTable& kernels, const SteeredQuery& steered,
                     const ScoreRule& rule)
    : steered_(steered), rule_(rule), vectors_(index, kernels, steered.away.size()) {
  std::vector<float> negated(steered.away.empty() ? 0 : index.dim());
  for (std::size_t m = 0; m < steered.away.size(); ++m) {
    for (std::size_t d = 0; d < index.dim(); ++d) negated[d] = -steered.away[m].vector[d];
    vectors_.set(m, negated.data(), 0.0f);
  }
}

std::uint64_t AwayProbe::refine(std::size_t block, std::uint64_t mask, float floor,
                                const ProbeVector& query) const {
  float dots[kBlockItems];
  query.approximate_block(block, dots);
  const float error = query.code_error(block);
  const std::size_t n_away = vectors_.size();
  std::vector<float> projections(n_away * kBlockItems);
  std::vector<float> errors(n_away);
  for (std::size_t m = 0; m < n_away; ++m) {
    vectors_[m].approximate_block(block, projections.data() + m * kBlockItems);
    errors[m] = vectors_[m].code_error(block);
  }
  std::vector<float> negated(n_away);
  std::uint64_t kept = 0;
  for (; mask != 0; mask &= mask - 1) {
    const auto j = static_cast<std::size_t>(__builtin_ctzll(mask));
    for (std::size_t m = 0; m < n_away; ++m) negated[m] = projections[m * kBlockItems + j] + errors[m];
    const float upper = penalised_upper(dots[j] + error, negated.data(), floor, steered_, rule_);
    kept |= std::uint64_t{!(upper < floor)} << j;
  }
  return kept;
}

AwayLower::AwayLower(const AwayProbe& probe, std::size_t block)
    : probe_(probe), projections_(probe.vectors_.size() * kBlockItems) {
  for (std::size_t m = 0; m < probe.vectors_.size(); ++m) {
    float* of_expert = projections_.data() + m * kBlockItems;
    probe.vectors_[m].approximate_block(block, of_expert);
    const float error = probe.vectors_[m].code_error(block);
    for (std::size_t j = 0; j < kBlockItems; ++j) of_expert[j] = error - of_expert[j];
  }
}

float AwayLower::score(std::size_t j, float lower) const {
  if (projections_.empty()) return lower;
  return penalised_score(lower, projections_.data() + j, kBlockItems, probe_.steered_, probe_.rule_);
}

}  // namespace dpr
