#include "search/rescorer.h"

#include <algorithm>

#include "penalty.h"

namespace dpr {

void Rescorer::prefetch(std::size_t place) const {
  constexpr std::size_t kLine = 64;
  const char* vector = reinterpret_cast<const char*>(segment_.view.vectors + place * segment_.view.dim);
  // Long vectors: the hardware follows once the first lines are asked for.
  const std::size_t bytes = std::min(segment_.view.dim * sizeof(float), 8 * kLine);
  for (std::size_t at = 0; at < bytes; at += kLine) __builtin_prefetch(vector + at);
  if (filter_.tags != nullptr) {
    __builtin_prefetch(segment_.view.tag_bits + place * segment_.view.n_tag_words);
  }
}

void Rescorer::push(QueryState& state, Pending& pending, std::size_t place) {
  prefetch(place);
  pending.places[pending.count++] = static_cast<std::uint32_t>(place);
  if (pending.count == Pending::kRoom) flush(state, pending);
}

void Rescorer::flush(QueryState& state, Pending& pending) {
  std::size_t n_passing = 0;
  for (std::size_t i = 0; i < pending.count; ++i) {
    pending.places[n_passing] = pending.places[i];
    n_passing += filter_.passes(state.number, segment_, pending.places[i]) ? 1 : 0;
  }
  pending.count = 0;
  if (n_passing == 0) return;
  float dots[Pending::kRoom];
  kernels_.dot_gather_f32(state.steered.vector.data(), segment_.view.vectors, pending.places, n_passing,
                          segment_.view.dim, dots);
  n_rescored_ += n_passing;
  const float floor = state.floor();
  std::size_t n_reaching = 0;
  for (std::size_t i = 0; i < n_passing; ++i) {
    if (dots[i] < floor) continue;
    pending.places[n_reaching] = pending.places[i];
    dots[n_reaching++] = dots[i];
  }
  if (n_reaching > 0) offer(state, pending.places, dots, n_reaching);
}

void Rescorer::offer(QueryState& state, const std::uint32_t* places, const float* dots, std::size_t count) {
  const SteeredQuery& steered = state.steered;
  // One expert's room at least: a null pointer must not be offset.
  projections_.resize(std::max({projections_.size(), steered.away.size() * Pending::kRoom, Pending::kRoom}));
  for (std::size_t m = 0; m < steered.away.size(); ++m) {
    kernels_.dot_gather_f32(steered.away[m].vector, segment_.view.vectors, places, count, segment_.view.dim,
                            projections_.data() + m * Pending::kRoom);
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t row = segment_.row(places[i]);
    if (!state.best.admits(dots[i], row)) continue;
    state.best.offer(penalised_score(dots[i], projections_.data() + i, Pending::kRoom, steered, rule_), row);
  }
}

}  // namespace dpr
