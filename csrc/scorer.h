// Exact top-k search: gate, then tile by tile dot, filter, penalise, keep the best. Single-threaded.
#pragma once

#include <cstddef>
#include <cstdint>

#include "catalogue_view.h"
#include "dispatch.h"
#include "exclusions.h"
#include "query_batch.h"
#include "score_rule.h"
#include "tag_filter.h"

namespace dpr {

struct SearchRequest {
  const QueryBatch& queries;  // checked by check_values
  const ScoreRule& rule;      // n_experts as in queries
  std::size_t k;              // >= 1
  const Exclusions& exclusions;
  const TagFilter* tag_filter;  // or null; n_queries and n_words fit queries and catalogue
};

// Row -1 and score -inf of a result fill the places that no allowed item is left for.
struct SearchResult {
  std::int64_t* rows;  // (n_queries, k)
  float* scores;       // (n_queries, k)
};

// Items in the order score descending, then row ascending. A score that is NaN, because huge inputs
// overflowed, ranks as -inf. Throws std::invalid_argument when a steered query or a score among the results
// is not finite.
void search(const CatalogueView& catalogue, const KernelTable& kernels, const SearchRequest& request,
            SearchResult result);

}  // namespace dpr
