// Every canonical score, computed in the plainest way. For tests and for doubters.
#pragma once

#include "catalogue_view.h"
#include "query_batch.h"
#include "score_rule.h"

namespace dpr {

// Writes (n_queries, n_items) scores to `scores`. Uses the scalar kernels, and neither tiles, pruning nor
// heap. `queries` was checked by check_values. Throws std::invalid_argument when a steered query overflows; a
// score that overflows is left infinite or NaN.
void reference_scores(const CatalogueView& catalogue, const QueryBatch& queries, const ScoreRule& rule,
                      float* scores);

}  // namespace dpr
