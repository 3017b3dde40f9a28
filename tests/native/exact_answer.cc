#include "exact_answer.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "index/build_index.h"
#include "reference.h"
#include "search/row_filter.h"
#include "search/search.h"
#include "search/top_k.h"

namespace dpr::test {
namespace {

std::vector<std::uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<std::uint32_t> bits(values.size());
  if (!values.empty()) std::memcpy(bits.data(), values.data(), values.size() * sizeof(float));
  return bits;
}

bool passes(const CatalogueState& catalogue, const Question& question, std::size_t query, std::int64_t row) {
  const RowFilter filter{catalogue.hidden, question.exclusions, question.allowed, question.tag_filter};
  for (const Segment* segment : {&catalogue.main, &catalogue.recent}) {
    const std::size_t place = segment->place(row);
    if (place < segment->view.n_items) return filter.passes(query, *segment, place);
  }
  return false;
}

}  // namespace

Answer sorted_answer(const CatalogueState& catalogue, const Question& question) {
  const std::size_t n = question.queries.n;
  std::vector<float> scores(n * catalogue.n_rows);
  reference_scores(catalogue, question.queries.batch(), question.queries.rule, scores.data());
  std::vector<std::int64_t> rows(n * question.k, -1);
  std::vector<float> best(n * question.k, -std::numeric_limits<float>::infinity());
  for (std::size_t b = 0; b < n; ++b) {
    std::vector<Candidate> ranked;
    for (std::size_t row = 0; row < catalogue.n_rows; ++row) {
      const auto id = static_cast<std::int64_t>(row);
      if (passes(catalogue, question, b, id))
        ranked.push_back({ordered_score(scores[b * catalogue.n_rows + row]), id});
    }
    std::sort(ranked.begin(), ranked.end(), Precedes());
    for (std::size_t i = 0; i < std::min(question.k, ranked.size()); ++i) {
      rows[b * question.k + i] = ranked[i].row;
      best[b * question.k + i] = ranked[i].score;
    }
  }
  return {std::move(rows), bits_of(best)};
}

Answer searched_answer(const CatalogueState& catalogue, SimdLevel level, const Question& question,
                       SearchCounts* counts) {
  std::vector<std::int64_t> rows(question.queries.n * question.k);
  std::vector<float> scores(rows.size());
  const QueryBatch batch = question.queries.batch();
  const SearchRequest request{batch,
                              question.queries.rule,
                              question.k,
                              question.exclusions,
                              question.allowed,
                              question.tag_filter,
                              question.threads};
  const SearchCounts done = search(catalogue, kernels_for(level), request, {rows.data(), scores.data()});
  if (counts != nullptr) counts->add(done);
  return {std::move(rows), bits_of(scores)};
}

std::unique_ptr<MainItems> main_items(Items items, const std::vector<std::size_t>& widths, std::int64_t gap) {
  std::vector<std::int64_t> row_ids(items.n);
  for (std::size_t i = 0; i < items.n; ++i) row_ids[i] = gap * static_cast<std::int64_t>(i);
  auto main = std::make_unique<MainItems>(std::move(items.vectors), std::move(items.tag_bits),
                                          std::move(row_ids), items.dim, items.n_tag_words);
  if (!widths.empty()) {
    const Parts parts = Parts::from_widths(widths, items.dim);
    const KernelTable& kernels = kernels_for(supported_simd_levels().back());
    main->set_index(build_index(main->view(), parts, kernels, 1), parts);
  }
  return main;
}

CatalogueState state_of(const MainItems& main) {
  const Segment segment = main.segment();
  const std::size_t n_rows = static_cast<std::size_t>(segment.row(segment.view.n_items - 1)) + 1;
  CatalogueState state{segment, {}, nullptr, n_rows};
  state.recent.view = {nullptr, nullptr, 0, segment.view.dim, segment.view.n_tag_words};
  return state;
}

}  // namespace dpr::test
