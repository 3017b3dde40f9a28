// Catalogue and SearchCounters for Python: checks, then the GIL is released, then work.
#include <pybind11/stl.h>

#include <functional>
#include <memory>
#include <optional>

#include "bindings/array_argument.h"
#include "bindings/docs.h"
#include "bindings/index_arrays.h"
#include "bindings/module.h"
#include "catalogue_check.h"
#include "live/live_catalogue.h"
#include "reference.h"
#include "search/search.h"

namespace dpr {
namespace {

// Keeps Python objects alive from C++; whichever thread lets go of the last reference takes the GIL for it.
std::shared_ptr<const void> keep_alive(py::list objects) {
  return {new py::list(std::move(objects)), [](const void* pointer) {
            const py::gil_scoped_acquire acquired;
            delete static_cast<const py::list*>(pointer);
          }};
}

CatalogueView checked_view(const FloatArray& vectors, const std::optional<WordArray>& tag_bits) {
  const View<float> matrix = array_of(vectors, "vectors", 2);
  CatalogueView view{matrix.data, nullptr, matrix.shape[0], matrix.shape[1], 0};
  check_size(view);
  if (tag_bits) {
    const View<std::uint64_t> words = array_of(*tag_bits, "tag_bits", 2);
    if (words.shape[0] != view.n_items || words.shape[1] == 0) {
      throw std::invalid_argument("tag_bits: expected shape (" + std::to_string(view.n_items) +
                                  ", W) with W >= 1, got " + shape_text(words.shape));
    }
    view.tag_bits = words.data;
    view.n_tag_words = words.shape[1];
  }
  return view;
}

constexpr std::int64_t kMostRows = std::int64_t{1} << 34;  // two bits of memory each

const std::int64_t* checked_row_ids(const std::optional<Int64Array>& row_ids, std::size_t n_items) {
  if (!row_ids) return nullptr;
  const std::int64_t* ids = array_of_shape(*row_ids, "row_ids", {n_items});
  for (std::size_t i = 0; i < n_items; ++i) {
    if (ids[i] >= 0 && ids[i] < kMostRows && (i == 0 || ids[i] > ids[i - 1])) continue;
    throw std::invalid_argument("row_ids[" + std::to_string(i) +
                                "]: expected rows in [0, 2^34) that rise, got " + std::to_string(ids[i]));
  }
  return ids;
}

std::size_t checked_n_rows(std::optional<std::int64_t> n_rows, const std::int64_t* row_ids,
                           std::size_t n_items) {
  const std::int64_t least =
      row_ids != nullptr ? row_ids[n_items - 1] + 1 : static_cast<std::int64_t>(n_items);
  const std::int64_t wanted = n_rows.value_or(least);
  if (wanted < least || wanted > kMostRows) {
    throw std::invalid_argument("n_rows: expected a number in [" + std::to_string(least) + ", " +
                                std::to_string(kMostRows) + "], got " + std::to_string(wanted));
  }
  return static_cast<std::size_t>(wanted);
}

std::unique_ptr<LiveCatalogue> make_catalogue(const FloatArray& vectors,
                                              const std::optional<WordArray>& tag_bits,
                                              const std::optional<ArrayDict>& index,
                                              const std::optional<std::vector<std::size_t>>& parts,
                                              const std::optional<Int64Array>& row_ids,
                                              std::optional<std::int64_t> n_rows,
                                              const std::optional<std::string>& simd_level) {
  const KernelTable& kernels = kernels_for(choose_simd_level(simd_level));
  const CatalogueView view = checked_view(vectors, tag_bits);
  const std::int64_t* ids = checked_row_ids(row_ids, view.n_items);
  const std::size_t rows = checked_n_rows(n_rows, ids, view.n_items);
  py::list objects;
  objects.append(vectors.object);
  if (tag_bits) objects.append(tag_bits->object);
  if (row_ids) objects.append(row_ids->object);
  std::optional<IndexArrays> arrays;
  Parts checked{};
  if (index || parts) {
    checked = Parts::from_widths(parts.value_or(std::vector<std::size_t>{view.dim}), view.dim);
  }
  if (index) {
    arrays = index_from_dict(*index, checked, view.dim);
    for (const auto& item : *index) objects.append(item.second);
  }
  auto main = std::make_shared<MainItems>(view, ids, keep_alive(std::move(objects)));
  const py::gil_scoped_release released;
  check_vectors("vectors", view.vectors, view.n_items, view.dim);
  if (arrays) main->set_index(*arrays, checked);
  return std::make_unique<LiveCatalogue>(std::move(main), rows, kernels);
}

QueryBatch checked_queries(const LiveCatalogue& catalogue, const FloatArray& user, const FloatArray& experts,
                           const FloatArray& gates, const ScoreRule& rule, const FloatArray& strength) {
  const std::size_t dim = catalogue.dim();
  const View<float> users = array_of(user, "user", 2);
  const std::size_t n_queries = users.shape[0];
  if (users.shape[1] > dim) {
    throw std::invalid_argument("user: expected at most " + std::to_string(dim) +
                                " columns, the catalogue's dimension, got shape " + shape_text(users.shape));
  }
  QueryBatch batch{};
  batch.user = users.data;
  batch.experts = array_of_shape(experts, "experts", {n_queries, rule.n_experts(), dim});
  batch.gates = array_of_shape(gates, "gates", {n_queries, rule.n_experts()});
  batch.strength = array_of_shape(strength, "strength", {n_queries});
  batch.n_queries = n_queries;
  batch.user_dim = users.shape[1];
  batch.n_experts = rule.n_experts();
  batch.dim = dim;
  check_values(batch);
  return batch;
}

std::size_t checked_k(std::int64_t k, std::size_t n_queries) {
  constexpr std::int64_t kMaxK = 2147483647;
  constexpr std::size_t kMaxResults = std::size_t{1} << 28;  // 3 GiB of rows and scores
  if (k < 1 || k > kMaxK) {
    throw std::invalid_argument("k: expected a number in [1, " + std::to_string(kMaxK) + "], got " +
                                std::to_string(k));
  }
  const auto width = static_cast<std::size_t>(k);
  if (n_queries > kMaxResults / width) {
    throw std::invalid_argument("k: expected at most " + std::to_string(kMaxResults) +
                                " results in a batch, got " + std::to_string(n_queries) +
                                " queries with k = " + std::to_string(k));
  }
  return width;
}

// Lists of rows, one a query: Exclusions or AllowedRows. A single query needs no offsets: all rows are its
// own.
template <class Lists>
Lists checked_lists(const char* name, const std::optional<Int64Array>& offsets,
                    const std::optional<Int64Array>& rows, std::size_t n_queries, std::size_t n_rows) {
  const std::string offsets_name = std::string(name) + "_offsets";
  const std::string rows_name = std::string(name) + "_rows";
  if (offsets.has_value() != rows.has_value() && !(rows && n_queries == 1)) {
    throw std::invalid_argument(offsets_name + " and " + rows_name +
                                ": expected both or neither, got one of them");
  }
  if (!rows) return {};
  const View<std::int64_t> flat = array_of(*rows, rows_name.c_str(), 1);
  if (!offsets) {
    const std::int64_t whole[] = {0, static_cast<std::int64_t>(flat.shape[0])};
    return {whole, n_queries, flat.data, flat.shape[0], n_rows};
  }
  return {array_of_shape(*offsets, offsets_name.c_str(), {n_queries + 1}), n_queries, flat.data,
          flat.shape[0], n_rows};
}

void check_tag_filter(const TagFilter& filter, std::size_t n_tag_words, std::size_t n_queries) {
  if (n_tag_words == 0) {
    throw std::invalid_argument("tag_filter: expected a catalogue with tag_bits, got one without");
  }
  if (filter.n_queries() != n_queries || filter.n_words() != n_tag_words) {
    throw std::invalid_argument("tag_filter: expected one for " + std::to_string(n_queries) + " queries of " +
                                std::to_string(n_tag_words) + " tag words, got " +
                                std::to_string(filter.n_queries()) + " queries of " +
                                std::to_string(filter.n_words()) + " words");
  }
}

using SearchArrays = std::pair<py::array_t<std::int64_t>, py::array_t<float>>;

SearchArrays search_catalogue(
    const LiveCatalogue& catalogue, const FloatArray& user, const FloatArray& experts,
    const FloatArray& gates, const ScoreRule& rule, const FloatArray& strength, std::int64_t k,
    const std::optional<Int64Array>& excluded_offsets, const std::optional<Int64Array>& excluded_rows,
    const std::optional<Int64Array>& allowed_offsets, const std::optional<Int64Array>& allowed_rows,
    const std::optional<std::reference_wrapper<const TagFilter>>& tag_filter, std::size_t threads,
    const std::optional<std::reference_wrapper<SearchCounts>>& counters) {
  const QueryBatch batch = checked_queries(catalogue, user, experts, gates, rule, strength);
  const std::size_t width = checked_k(k, batch.n_queries);
  const std::size_t n_threads = checked_threads(threads);
  const std::shared_ptr<const Snapshot> snapshot = catalogue.snapshot();
  const auto exclusions = checked_lists<Exclusions>("excluded", excluded_offsets, excluded_rows,
                                                    batch.n_queries, snapshot->n_rows);
  const auto allowed =
      checked_lists<AllowedRows>("allowed", allowed_offsets, allowed_rows, batch.n_queries, snapshot->n_rows);
  const TagFilter* filter = tag_filter ? &tag_filter->get() : nullptr;
  if (filter != nullptr) check_tag_filter(*filter, catalogue.n_tag_words(), batch.n_queries);

  SearchArrays arrays{py::array_t<std::int64_t>({batch.n_queries, width}),
                      py::array_t<float>({batch.n_queries, width})};
  const SearchResult result{arrays.first.mutable_data(), arrays.second.mutable_data()};
  SearchCounts counts;
  {
    const py::gil_scoped_release released;
    const CatalogueState state = snapshot->state();
    counts = search(state, catalogue.kernels(), {batch, rule, width, exclusions, allowed, filter, n_threads},
                    result);
  }
  if (counters) counters->get().add(counts);
  return arrays;
}

py::array_t<float> reference_scores_of(const LiveCatalogue& catalogue, const FloatArray& user,
                                       const FloatArray& experts, const FloatArray& gates,
                                       const ScoreRule& rule, const FloatArray& strength) {
  const QueryBatch batch = checked_queries(catalogue, user, experts, gates, rule, strength);
  const std::shared_ptr<const Snapshot> snapshot = catalogue.snapshot();
  py::array_t<float> scores({batch.n_queries, snapshot->n_rows});
  float* data = scores.mutable_data();
  const py::gil_scoped_release released;
  reference_scores(snapshot->state(), batch, rule, data);
  catalogue.mark_removed(data, batch.n_queries, snapshot->n_rows);
  return scores;
}

std::int64_t add_items(LiveCatalogue& catalogue, const FloatArray& vectors,
                       const std::optional<WordArray>& tag_bits) {
  const View<float> matrix = array_of(vectors, "vectors", 2);
  const std::size_t n = matrix.shape[0];
  array_of_shape(vectors, "vectors", {n, catalogue.dim()});
  if (tag_bits.has_value() != (catalogue.n_tag_words() > 0)) {
    throw std::invalid_argument(std::string("tag_bits: expected ") +
                                (tag_bits ? "none, as the catalogue has no tags, got an array"
                                          : "an array, as the catalogue has tags, got none"));
  }
  const std::uint64_t* words =
      tag_bits ? array_of_shape(*tag_bits, "tag_bits", {n, catalogue.n_tag_words()}) : nullptr;
  const py::gil_scoped_release released;
  check_vectors("vectors", matrix.data, n, catalogue.dim());
  return catalogue.add(matrix.data, words, n);
}

ArrayDict copied_arrays(const LiveCatalogue& catalogue) {
  const std::shared_ptr<const Snapshot> snapshot = catalogue.compacted_snapshot();
  const Segment main = snapshot->main->segment();
  const std::size_t n = main.view.n_items;
  ArrayDict dict = main.index != nullptr ? index_copies(*main.index) : ArrayDict();
  dict["vectors"] = array_from(std::vector<float>(main.view.vectors, main.view.vectors + n * main.view.dim),
                               {n, main.view.dim});
  if (main.view.n_tag_words > 0) {
    dict["tag_bits"] = array_from(
        std::vector<std::uint64_t>(main.view.tag_bits, main.view.tag_bits + n * main.view.n_tag_words),
        {n, main.view.n_tag_words});
  }
  std::vector<std::int64_t> rows(n);
  for (std::size_t i = 0; i < n; ++i) rows[i] = main.row(i);
  py::array_t<bool> available(static_cast<py::ssize_t>(n));
  for (std::size_t i = 0; i < n; ++i) available.mutable_at(i) = catalogue.is_available(rows[i]);
  dict["row_ids"] = array_from(std::move(rows), {n});
  dict["available"] = available;
  return dict;
}

void remove_rows(LiveCatalogue& catalogue, const Int64Array& rows) {
  const View<std::int64_t> list = array_of(rows, "rows", 1);
  const py::gil_scoped_release released;
  catalogue.remove(list.data, list.shape[0]);
}

void set_available(LiveCatalogue& catalogue, const Int64Array& rows, bool available) {
  const View<std::int64_t> list = array_of(rows, "rows", 1);
  const py::gil_scoped_release released;
  catalogue.set_available(list.data, list.shape[0], available);
}

void check_index(const LiveCatalogue& catalogue) {
  const std::shared_ptr<const Snapshot> snapshot = catalogue.snapshot();
  const py::gil_scoped_release released;
  const MainItems& main = *snapshot->main;
  if (main.index() != nullptr) main.index()->check_bounds(main.view());
}

std::vector<std::size_t> part_widths(const LiveCatalogue& catalogue) {
  const Parts& parts = catalogue.parts();
  if (parts.count == 0) return {catalogue.dim()};
  return {parts.width, parts.width + parts.count};
}

void bind_counters(py::module_& module) {
  py::class_<SearchCounts>(module, "SearchCounters", docs::kSearchCounters)
      .def(py::init<>())
      .def_readonly("n_pairs", &SearchCounts::n_pairs, docs::kNPairs)
      .def_readonly("n_pairs_scanned", &SearchCounts::n_pairs_scanned, docs::kNPairsScanned)
      .def_readonly("n_rescored", &SearchCounts::n_rescored, docs::kNRescored)
      .def_readonly("n_pieces", &SearchCounts::n_pieces, docs::kNPieces);
}

void bind_changes(py::class_<LiveCatalogue>& catalogue) {
  catalogue.def("add", &add_items, py::arg("vectors"), py::arg("tag_bits") = py::none(), docs::kAdd)
      .def("remove", &remove_rows, py::arg("rows"), docs::kRemove)
      .def("set_available", &set_available, py::arg("rows"), py::arg("available"), docs::kSetAvailable)
      .def(
          "compact",
          [](LiveCatalogue& self, std::size_t threads) {
            const py::gil_scoped_release released;
            self.compact(checked_threads(threads));
          },
          py::kw_only(), py::arg("threads") = 1, docs::kCompact)
      .def("check_index", &check_index, docs::kCheckIndex)
      .def("arrays", &copied_arrays, docs::kArrays);
}

}  // namespace

void bind_catalogue(py::module_& module) {
  bind_counters(module);
  py::class_<LiveCatalogue> catalogue(module, "Catalogue", docs::kCatalogue);
  catalogue
      .def(py::init(&make_catalogue), py::arg("vectors"), py::arg("tag_bits") = py::none(), py::kw_only(),
           py::arg("index") = py::none(), py::arg("parts") = py::none(), py::arg("row_ids") = py::none(),
           py::arg("n_rows") = py::none(), py::arg("simd_level") = py::none(), docs::kCatalogueInit)
      .def_property_readonly("n_items", &LiveCatalogue::n_items, docs::kNItems)
      .def_property_readonly(
          "n_rows", [](const LiveCatalogue& self) { return self.snapshot()->n_rows; }, docs::kNRows)
      .def_property_readonly("n_pending", &LiveCatalogue::n_pending, docs::kNPending)
      .def_property_readonly("dim", &LiveCatalogue::dim, docs::kDim)
      .def_property_readonly("parts", &part_widths, docs::kParts)
      .def_property_readonly("n_tag_words", &LiveCatalogue::n_tag_words, docs::kNTagWords)
      .def_property_readonly(
          "simd_level", [](const LiveCatalogue& self) { return simd_level_name(self.kernels().level); },
          docs::kCatalogueSimdLevel)
      .def("search", &search_catalogue, py::arg("user"), py::arg("experts"), py::arg("gates"),
           py::arg("rule"), py::arg("strength"), py::arg("k").noconvert(),
           py::arg("excluded_offsets") = py::none(), py::arg("excluded_rows") = py::none(),
           py::arg("allowed_offsets") = py::none(), py::arg("allowed_rows") = py::none(),
           py::arg("tag_filter") = py::none(), py::arg("threads") = 1, py::arg("counters") = py::none(),
           docs::kSearch)
      .def("reference_scores", &reference_scores_of, py::arg("user"), py::arg("experts"), py::arg("gates"),
           py::kw_only(), py::arg("rule"), py::arg("strength"), docs::kReferenceScores);
  bind_changes(catalogue);
}

}  // namespace dpr
