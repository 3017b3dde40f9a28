// Evaluating tag filters over a run of rows.
#include "tag_filter.h"

#include <algorithm>

#include "exclusions.h"

namespace dpr {
namespace {

// One query's conditions. kWords is the width where it is known when compiling, or 0.
template <std::size_t kWords>
struct Conditions {
  const std::uint64_t* all;
  const std::uint64_t* none;
  const std::uint64_t* with;
  const std::uint64_t* without;
  std::size_t n_clauses;
  std::size_t n_words;

  std::size_t width() const { return kWords != 0 ? kWords : n_words; }

  bool passes(const std::uint64_t* tags) const {
    std::uint64_t wrong = 0;
    for (std::size_t w = 0; w < width(); ++w) wrong |= (all[w] & ~tags[w]) | (none[w] & tags[w]);
    for (std::size_t c = 0; c < n_clauses; ++c) {
      std::uint64_t met = 0;
      for (std::size_t w = 0; w < width(); ++w) {
        met |= (with[c * width() + w] & tags[w]) | (without[c * width() + w] & ~tags[w]);
      }
      wrong |= met == 0;
    }
    return wrong == 0;
  }

  // Without a branch on the outcome, which no predictor could learn.
  std::size_t select(const std::uint64_t* tag_bits, std::size_t n_rows, std::uint32_t* passing) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < n_rows; ++i) {
      passing[count] = static_cast<std::uint32_t>(i);
      count += passes(tag_bits + i * width());
    }
    return count;
  }
};

std::vector<std::uint64_t> copy(const std::uint64_t* words, std::size_t count) {
  return {words, words + count};
}

}  // namespace

TagFilter::TagFilter(const TagFilterArrays& arrays)
    : n_words_(arrays.n_words),
      all_(copy(arrays.all, arrays.n_queries * arrays.n_words)),
      none_(copy(arrays.none, arrays.n_queries * arrays.n_words)),
      clause_offsets_(
          checked_offsets("clause_offsets", arrays.clause_offsets, arrays.n_queries, arrays.n_clauses)),
      clause_with_(copy(arrays.clause_with, arrays.n_clauses * arrays.n_words)),
      clause_without_(copy(arrays.clause_without, arrays.n_clauses * arrays.n_words)) {}

bool TagFilter::restricts(std::size_t query) const {
  if (clause_offsets_[query] != clause_offsets_[query + 1]) return true;
  const auto first = static_cast<std::ptrdiff_t>(query * n_words_);
  const auto last = first + static_cast<std::ptrdiff_t>(n_words_);
  const auto is_set = [](std::uint64_t word) { return word != 0; };
  return std::any_of(all_.begin() + first, all_.begin() + last, is_set) ||
         std::any_of(none_.begin() + first, none_.begin() + last, is_set);
}

template <std::size_t kWords, class Use>
auto TagFilter::with_conditions(std::size_t query, const Use& use) const {
  return use(Conditions<kWords>{all(query), none_.data() + query * n_words_, clause_with(query),
                                clause_without(query), n_clauses(query), n_words_});
}

bool TagFilter::passes(std::size_t query, const std::uint64_t* tags) const {
  const auto test = [tags](const auto& conditions) { return conditions.passes(tags); };
  return n_words_ == 1 ? with_conditions<1>(query, test) : with_conditions<0>(query, test);
}

std::size_t TagFilter::select(std::size_t query, const std::uint64_t* tag_bits, std::size_t n_rows,
                              std::uint32_t* passing) const {
  const auto choose = [=](const auto& conditions) { return conditions.select(tag_bits, n_rows, passing); };
  return n_words_ == 1 ? with_conditions<1>(query, choose) : with_conditions<0>(query, choose);
}

}  // namespace dpr
