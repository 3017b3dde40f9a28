#include "search/allowed_rows.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "exclusions.h"

namespace dpr {

AllowedRows::AllowedRows(const std::int64_t* offsets, std::size_t n_queries, const std::int64_t* rows,
                         std::size_t n_entries, std::size_t n_rows) {
  const std::vector<std::size_t> begin = checked_offsets("allowed_offsets", offsets, n_queries, n_entries);
  lists_.reserve(n_queries);
  for (std::size_t b = 0; b < n_queries; ++b) {
    std::vector<std::int64_t> list(rows + begin[b], rows + begin[b + 1]);
    std::sort(list.begin(), list.end());
    list.erase(std::unique(list.begin(), list.end()), list.end());
    if (!list.empty() && (list.front() < 0 || list.back() >= static_cast<std::int64_t>(n_rows))) {
      throw std::invalid_argument("query " + std::to_string(b) + ": allowed_rows: expected rows in [0, " +
                                  std::to_string(n_rows) + "), got " +
                                  std::to_string(list.front() < 0 ? list.front() : list.back()));
    }
    lists_.push_back(std::move(list));
  }
}

bool AllowedRows::contains(std::size_t query, std::int64_t row) const {
  return std::binary_search(lists_[query].begin(), lists_[query].end(), row);
}

}  // namespace dpr
