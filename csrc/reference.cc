// One item at a time, one query at a time.
#include "reference.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "fp_environment.h"
#include "gating.h"
#include "kernels/dot_f32.h"
#include "penalty.h"

namespace dpr {
namespace {

void score_segment(const Segment& segment, const SteeredQuery& query, const ScoreRule& rule, float* scores) {
  const std::size_t dim = segment.view.dim;
  std::vector<float> projections(query.away.size());
  for (std::size_t i = 0; i < segment.view.n_items; ++i) {
    const float* item = segment.view.vectors + i * dim;
    float dot = 0.0f;
    dot_rows_f32_scalar(query.vector.data(), item, 1, dim, &dot);
    for (std::size_t m = 0; m < query.away.size(); ++m) {
      dot_rows_f32_scalar(query.away[m].vector, item, 1, dim, &projections[m]);
    }
    scores[segment.row(i)] = penalised_score(dot, projections.data(), 1, query, rule);
  }
}

}  // namespace

void reference_scores(const CatalogueState& catalogue, const QueryBatch& queries, const ScoreRule& rule,
                      float* scores) {
  const FpEnvironment environment;
  std::fill_n(scores, queries.n_queries * catalogue.n_rows, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t b = 0; b < queries.n_queries; ++b) {
    const SteeredQuery query = steer_query(queries, b, rule);
    score_segment(catalogue.main, query, rule, scores + b * catalogue.n_rows);
    score_segment(catalogue.recent, query, rule, scores + b * catalogue.n_rows);
  }
}

}  // namespace dpr
