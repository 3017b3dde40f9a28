// Every canonical score, computed in the plainest way. For tests and for doubters.
#pragma once

#include "query_batch.h"
#include "score_rule.h"
#include "search/segment.h"

namespace dpr {

// Writes (n_queries, n_rows) scores to `scores`: of every item in memory, hidden ones included, and NaN for
// rows without one. Uses the scalar kernels, and neither codes, tiles, pruning nor heap. `queries` was
// checked by check_values. Throws std::invalid_argument when a steered query overflows; a score that
// overflows is left infinite or NaN.
void reference_scores(const CatalogueState& catalogue, const QueryBatch& queries, const ScoreRule& rule,
                      float* scores);

}  // namespace dpr
