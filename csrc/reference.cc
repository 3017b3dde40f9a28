// One item at a time, one query at a time.
#include "reference.h"

#include <vector>

#include "fp_environment.h"
#include "gating.h"
#include "kernels/dot_f32.h"
#include "penalty.h"

namespace dpr {

void reference_scores(const CatalogueView& catalogue, const QueryBatch& queries, const ScoreRule& rule,
                      float* scores) {
  const FpEnvironment environment;
  const std::size_t dim = catalogue.dim;
  for (std::size_t b = 0; b < queries.n_queries; ++b) {
    const SteeredQuery query = steer_query(queries, b, rule);
    std::vector<float> projections(query.away.size());
    for (std::size_t i = 0; i < catalogue.n_items; ++i) {
      const float* item = catalogue.vectors + i * dim;
      float dot = 0.0f;
      dot_rows_f32_scalar(query.vector.data(), item, 1, dim, &dot);
      for (std::size_t m = 0; m < query.away.size(); ++m) {
        dot_rows_f32_scalar(query.away[m].vector, item, 1, dim, &projections[m]);
      }
      scores[b * catalogue.n_items + i] = penalised_score(dot, projections.data(), 1, query, rule);
    }
  }
}

}  // namespace dpr
