// Rows that a query is limited to: each query's own list.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dpr {

class AllowedRows {
 public:
  // Limits nothing.
  AllowedRows() = default;

  // Query b is limited to rows[offsets[b] .. offsets[b + 1]), in any order, repeats allowed. Copies both.
  // Throws std::invalid_argument for offsets that do not fit, or a row not in [0, n_rows).
  AllowedRows(const std::int64_t* offsets, std::size_t n_queries, const std::int64_t* rows,
              std::size_t n_entries, std::size_t n_rows);

  bool limits() const { return !lists_.empty(); }
  const std::vector<std::int64_t>& rows(std::size_t query) const {
    return lists_[query];
  }  // ascending, once each
  bool contains(std::size_t query, std::int64_t row) const;

 private:
  std::vector<std::vector<std::int64_t>> lists_;
};

}  // namespace dpr
