#include "search/posting_lists.h"

#include <algorithm>

namespace dpr {
namespace {

// Visits the set bits of an item's tags.
template <class Visit>
void for_each_tag(const std::uint64_t* words, std::size_t n_words, const Visit& visit) {
  for (std::size_t w = 0; w < n_words; ++w) {
    for (std::uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
      visit(64 * w + static_cast<std::size_t>(__builtin_ctzll(bits)));
    }
  }
}

}  // namespace

// A hundredth of the items: reading 10,000 of a million vectors one by one costs about what a scan with a
// filter does; a list of 5 % took ten times as long.
std::size_t PostingLists::most_listed() const { return view_.n_items / 100; }

void PostingLists::make() const {
  const std::size_t n_tags = 64 * view_.n_tag_words;
  counts_.assign(n_tags, 0);
  const auto words = [this](std::size_t i) { return view_.tag_bits + i * view_.n_tag_words; };
  for (std::size_t i = 0; i < view_.n_items; ++i) {
    for_each_tag(words(i), view_.n_tag_words, [this](std::size_t tag) { ++counts_[tag]; });
  }
  begin_.assign(n_tags + 1, 0);
  for (std::size_t tag = 0; tag < n_tags; ++tag) {
    begin_[tag + 1] = begin_[tag] + (counts_[tag] <= most_listed() ? counts_[tag] : 0);
  }
  places_.resize(begin_.back());
  std::vector<std::size_t> next(begin_.begin(), begin_.end() - 1);
  for (std::size_t i = 0; i < view_.n_items; ++i) {
    for_each_tag(words(i), view_.n_tag_words, [&](std::size_t tag) {
      if (is_listed(tag)) places_[next[tag]++] = static_cast<std::uint32_t>(i);
    });
  }
}

std::size_t PostingLists::count_any(const std::uint64_t* tags) const {
  std::size_t count = 0;
  for_each_tag(tags, view_.n_tag_words,
               [&](std::size_t tag) { count += is_listed(tag) ? counts_[tag] : view_.n_items; });
  return std::min(count, view_.n_items);
}

void PostingLists::append_any(const std::uint64_t* tags, std::vector<std::uint32_t>& places) const {
  for_each_tag(tags, view_.n_tag_words, [&](std::size_t tag) {
    places.insert(places.end(), places_.begin() + static_cast<std::ptrdiff_t>(begin_[tag]),
                  places_.begin() + static_cast<std::ptrdiff_t>(begin_[tag + 1]));
  });
  std::sort(places.begin(), places.end());
  places.erase(std::unique(places.begin(), places.end()), places.end());
}

bool PostingLists::find_candidates(const TagFilter& filter, std::size_t query,
                                   std::vector<std::uint32_t>& places) const {
  std::call_once(once_, [this] { make(); });
  const std::size_t n_words = view_.n_tag_words;
  std::size_t fewest = most_listed() + 1;
  std::vector<std::uint64_t> chosen;
  const auto consider = [&](const std::vector<std::uint64_t>& tags) {
    const std::size_t count = count_any(tags.data());
    if (count >= fewest) return;
    fewest = count;
    chosen = tags;
  };
  for_each_tag(filter.all(query), n_words, [&](std::size_t tag) {
    std::vector<std::uint64_t> one(n_words, 0);
    one[tag / 64] = std::uint64_t{1} << (tag % 64);
    consider(one);
  });
  for (std::size_t c = 0; c < filter.n_clauses(query); ++c) {
    const std::uint64_t* with = filter.clause_with(query) + c * n_words;
    const std::uint64_t* without = filter.clause_without(query) + c * n_words;
    const bool only_with =
        std::all_of(without, without + n_words, [](std::uint64_t word) { return word == 0; });
    if (only_with) consider({with, with + n_words});
  }
  if (chosen.empty()) return false;
  places.clear();
  append_any(chosen.data(), places);
  return true;
}

}  // namespace dpr
