// Exact top-k search over a catalogue: gate every query, choose how it is scanned, scan, write the results.
#pragma once

#include <cstddef>
#include <cstdint>

#include "dispatch.h"
#include "exclusions.h"
#include "query_batch.h"
#include "score_rule.h"
#include "search/allowed_rows.h"
#include "search/query_state.h"
#include "search/segment.h"
#include "tag_filter.h"

namespace dpr {

struct SearchRequest {
  const QueryBatch& queries;  // checked by check_values
  const ScoreRule& rule;      // n_experts as in queries
  std::size_t k;              // >= 1
  const Exclusions& exclusions;
  const AllowedRows& allowed;
  const TagFilter* tag_filter;  // or null; n_queries and n_words fit queries and catalogue
  std::size_t threads;          // >= 1
};

// Row -1 and score -inf of a result fill the places that no allowed item is left for.
struct SearchResult {
  std::int64_t* rows;  // (n_queries, k)
  float* scores;       // (n_queries, k)
};

// Items in the order score descending, then row ascending. A score that is NaN, because huge inputs
// overflowed, ranks as -inf. Returns the work done. Throws std::invalid_argument when a steered query or a
// score among the results is not finite.
SearchCounts search(const CatalogueState& catalogue, const KernelTable& kernels, const SearchRequest& request,
                    SearchResult result);

}  // namespace dpr
