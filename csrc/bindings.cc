// dpr_infer._core: checks of Python arguments and release of the GIL. The sole file naming pybind11.
//
// Array arguments are never converted or copied: their type, dtype, rank and memory order are checked here by
// hand, because the error of a failed overload names none of them.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "bindings_docs.h"
#include "dispatch.h"
#include "reference.h"
#include "scorer.h"

namespace py = pybind11;

namespace dpr {
namespace {

// An argument that must be a NumPy array of T. Takes anything from Python; array_of checks it by name.
template <class T>
struct ArrayArgument {
  py::object object;
};

using FloatArray = ArrayArgument<float>;
using Int64Array = ArrayArgument<std::int64_t>;
using WordArray = ArrayArgument<std::uint64_t>;

}  // namespace
}  // namespace dpr

namespace pybind11::detail {

template <class T>
struct type_caster<dpr::ArrayArgument<T>> {
  PYBIND11_TYPE_CASTER(dpr::ArrayArgument<T>, const_name("numpy.typing.NDArray[") +
                                                  npy_format_descriptor<T>::name + const_name("]"));
  bool load(handle source, bool) {
    value.object = reinterpret_borrow<object>(source);
    return true;
  }
};

}  // namespace pybind11::detail

namespace dpr {
namespace {

// A checked array in C order.
template <class T>
struct View {
  const T* data;
  std::vector<std::size_t> shape;
};

std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

template <class T>
std::string dtype_name() {
  return py::str(py::dtype::of<T>());
}

template <class T>
View<T> array_of(const ArrayArgument<T>& argument, const char* name, std::size_t rank) {
  if (!py::isinstance<py::array>(argument.object)) {
    throw py::type_error(std::string(name) + ": expected a numpy.ndarray of " + dtype_name<T>() + ", got " +
                         Py_TYPE(argument.object.ptr())->tp_name);
  }
  const auto array = py::reinterpret_borrow<py::array>(argument.object);
  if (!py::isinstance<py::array_t<T, 0>>(array)) {
    throw py::type_error(std::string(name) + ": expected dtype " + dtype_name<T>() + ", got " +
                         std::string(py::str(array.dtype())));
  }
  if (static_cast<std::size_t>(array.ndim()) != rank) {
    throw std::invalid_argument(std::string(name) + ": expected rank " + std::to_string(rank) +
                                ", got rank " + std::to_string(array.ndim()));
  }
  constexpr int kWanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array.flags() & kWanted) != kWanted) {
    throw std::invalid_argument(std::string(name) +
                                ": expected a C-contiguous array aligned to its dtype, got another");
  }
  return {static_cast<const T*>(array.data()), {array.shape(), array.shape() + rank}};
}

template <class T>
const T* array_of_shape(const ArrayArgument<T>& argument, const char* name,
                        const std::vector<std::size_t>& shape) {
  const View<T> view = array_of(argument, name, shape.size());
  if (view.shape != shape) {
    throw std::invalid_argument(std::string(name) + ": expected shape " + shape_text(shape) + ", got " +
                                shape_text(view.shape));
  }
  return view.data;
}

// The arrays that a catalogue looks at, kept alive with it.
class Catalogue {
 public:
  Catalogue(const FloatArray& vectors, const std::optional<WordArray>& tag_bits,
            const std::optional<std::string>& simd_level);

  const CatalogueView& view() const { return view_; }
  const KernelTable& kernels() const { return *kernels_; }

 private:
  FloatArray vectors_;
  std::optional<WordArray> tag_bits_;
  const KernelTable* kernels_;
  CatalogueView view_{};
};

void check_catalogue_vectors(const CatalogueView& view) {
  const std::size_t count = view.n_items * view.dim;
  std::size_t place;
  {
    const py::gil_scoped_release released;
    place = find_not_finite(view.vectors, count);
  }
  if (place == count) return;
  throw std::invalid_argument("vectors, row " + std::to_string(place / view.dim) + ", column " +
                              std::to_string(place % view.dim) + ": expected a finite number, got " +
                              std::to_string(view.vectors[place]));
}

Catalogue::Catalogue(const FloatArray& vectors, const std::optional<WordArray>& tag_bits,
                     const std::optional<std::string>& simd_level)
    : vectors_(vectors), tag_bits_(tag_bits), kernels_(&kernels_for(choose_simd_level(simd_level))) {
  const View<float> matrix = array_of(vectors, "vectors", 2);
  if (matrix.shape[0] == 0 || matrix.shape[1] == 0) {
    throw std::invalid_argument("vectors: expected at least one item and one dimension, got shape " +
                                shape_text(matrix.shape));
  }
  view_ = {matrix.data, nullptr, matrix.shape[0], matrix.shape[1], 0};
  if (tag_bits) {
    const View<std::uint64_t> words = array_of(*tag_bits, "tag_bits", 2);
    if (words.shape[0] != view_.n_items || words.shape[1] == 0) {
      throw std::invalid_argument("tag_bits: expected shape (" + std::to_string(view_.n_items) +
                                  ", W) with W >= 1, got " + shape_text(words.shape));
    }
    view_.tag_bits = words.data;
    view_.n_tag_words = words.shape[1];
  }
  check_catalogue_vectors(view_);
}

QueryBatch checked_queries(const Catalogue& catalogue, const FloatArray& user, const FloatArray& experts,
                           const FloatArray& gates, const ScoreRule& rule, const FloatArray& strength) {
  const std::size_t dim = catalogue.view().dim;
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

Exclusions checked_exclusions(const std::optional<Int64Array>& offsets, const std::optional<Int64Array>& rows,
                              std::size_t n_queries, std::size_t n_items) {
  if (offsets.has_value() != rows.has_value()) {
    throw std::invalid_argument(
        "excluded_offsets and excluded_rows: expected both or neither, got one of them");
  }
  if (!offsets) return {};
  const View<std::int64_t> flat = array_of(*rows, "excluded_rows", 1);
  return {array_of_shape(*offsets, "excluded_offsets", {n_queries + 1}), n_queries, flat.data, flat.shape[0],
          n_items};
}

void check_tag_filter(const TagFilter& filter, const CatalogueView& catalogue, std::size_t n_queries) {
  if (catalogue.n_tag_words == 0) {
    throw std::invalid_argument("tag_filter: expected a catalogue with tag_bits, got one without");
  }
  if (filter.n_queries() != n_queries || filter.n_words() != catalogue.n_tag_words) {
    throw std::invalid_argument("tag_filter: expected one for " + std::to_string(n_queries) + " queries of " +
                                std::to_string(catalogue.n_tag_words) + " tag words, got " +
                                std::to_string(filter.n_queries()) + " queries of " +
                                std::to_string(filter.n_words()) + " words");
  }
}

using SearchArrays = std::pair<py::array_t<std::int64_t>, py::array_t<float>>;

SearchArrays search_catalogue(const Catalogue& catalogue, const FloatArray& user, const FloatArray& experts,
                              const FloatArray& gates, const ScoreRule& rule, const FloatArray& strength,
                              std::int64_t k, const std::optional<Int64Array>& excluded_offsets,
                              const std::optional<Int64Array>& excluded_rows,
                              const std::optional<std::reference_wrapper<const TagFilter>>& tag_filter) {
  const QueryBatch batch = checked_queries(catalogue, user, experts, gates, rule, strength);
  const std::size_t width = checked_k(k, batch.n_queries);
  const Exclusions exclusions =
      checked_exclusions(excluded_offsets, excluded_rows, batch.n_queries, catalogue.view().n_items);
  const TagFilter* filter = tag_filter ? &tag_filter->get() : nullptr;
  if (filter != nullptr) check_tag_filter(*filter, catalogue.view(), batch.n_queries);

  SearchArrays arrays{py::array_t<std::int64_t>({batch.n_queries, width}),
                      py::array_t<float>({batch.n_queries, width})};
  const SearchResult result{arrays.first.mutable_data(), arrays.second.mutable_data()};
  const py::gil_scoped_release released;
  search(catalogue.view(), catalogue.kernels(), {batch, rule, width, exclusions, filter}, result);
  return arrays;
}

py::array_t<float> reference_scores_of(const Catalogue& catalogue, const FloatArray& user,
                                       const FloatArray& experts, const FloatArray& gates,
                                       const ScoreRule& rule, const FloatArray& strength) {
  const QueryBatch batch = checked_queries(catalogue, user, experts, gates, rule, strength);
  py::array_t<float> scores({batch.n_queries, catalogue.view().n_items});
  float* data = scores.mutable_data();
  const py::gil_scoped_release released;
  reference_scores(catalogue.view(), batch, rule, data);
  return scores;
}

TagFilter make_tag_filter(const WordArray& all, const WordArray& none, const Int64Array& clause_offsets,
                          const WordArray& clause_with, const WordArray& clause_without) {
  const View<std::uint64_t> needed = array_of(all, "all", 2);
  const std::size_t n_queries = needed.shape[0];
  const std::size_t n_words = needed.shape[1];
  if (n_words == 0)
    throw std::invalid_argument("all: expected at least one tag word, got shape " + shape_text(needed.shape));
  const std::size_t n_clauses = array_of(clause_with, "clause_with", 2).shape[0];
  return TagFilter({needed.data, array_of_shape(none, "none", {n_queries, n_words}),
                    array_of_shape(clause_offsets, "clause_offsets", {n_queries + 1}),
                    array_of_shape(clause_with, "clause_with", {n_clauses, n_words}),
                    array_of_shape(clause_without, "clause_without", {n_clauses, n_words}), n_queries,
                    n_clauses, n_words});
}

void bind_catalogue(py::module_& module) {
  py::class_<Catalogue>(module, "Catalogue", docs::kCatalogue)
      .def(py::init<const FloatArray&, const std::optional<WordArray>&, const std::optional<std::string>&>(),
           py::arg("vectors"), py::arg("tag_bits") = py::none(), py::kw_only(),
           py::arg("simd_level") = py::none(), docs::kCatalogueInit)
      .def_property_readonly(
          "n_items", [](const Catalogue& self) { return self.view().n_items; }, docs::kNItems)
      .def_property_readonly(
          "dim", [](const Catalogue& self) { return self.view().dim; }, docs::kDim)
      .def_property_readonly(
          "n_tag_words", [](const Catalogue& self) { return self.view().n_tag_words; }, docs::kNTagWords)
      .def_property_readonly(
          "simd_level", [](const Catalogue& self) { return simd_level_name(self.kernels().level); },
          docs::kCatalogueSimdLevel)
      .def("search", &search_catalogue, py::arg("user"), py::arg("experts"), py::arg("gates"), py::kw_only(),
           py::arg("rule"), py::arg("strength"), py::arg("k").noconvert(),
           py::arg("excluded_offsets") = py::none(), py::arg("excluded_rows") = py::none(),
           py::arg("tag_filter") = py::none(), docs::kSearch)
      .def("reference_scores", &reference_scores_of, py::arg("user"), py::arg("experts"), py::arg("gates"),
           py::kw_only(), py::arg("rule"), py::arg("strength"), docs::kReferenceScores);
}

void bind_rule_and_filter(py::module_& module) {
  py::class_<ScoreRule>(module, "ScoreRule", docs::kScoreRule)
      .def(py::init<const std::vector<std::string>&, std::vector<float>, const std::string&, float>(),
           py::kw_only(), py::arg("roles"), py::arg("biases"), py::arg("phi"), py::arg("gain") = 1.0f,
           docs::kScoreRuleInit)
      .def_property_readonly("n_experts", &ScoreRule::n_experts, docs::kNExperts)
      .def_property_readonly("roles", &ScoreRule::role_names, docs::kRoles)
      .def_property_readonly("biases", &ScoreRule::biases, docs::kBiases)
      .def_property_readonly("phi", &ScoreRule::phi_name, docs::kPhi)
      .def_property_readonly("gain", &ScoreRule::gain, docs::kGain);
  py::class_<TagFilter>(module, "TagFilter", docs::kTagFilter)
      .def(py::init(&make_tag_filter), py::kw_only(), py::arg("all"), py::arg("none"),
           py::arg("clause_offsets"), py::arg("clause_with"), py::arg("clause_without"), docs::kTagFilterInit)
      .def_property_readonly("n_queries", &TagFilter::n_queries, docs::kFilterNQueries)
      .def_property_readonly("n_words", &TagFilter::n_words, docs::kFilterNWords);
}

}  // namespace
}  // namespace dpr

PYBIND11_MODULE(_core, module) {
  using namespace dpr;
  module.doc() = docs::kModule;
  module.def("simd_level", [] { return simd_level_name(choose_simd_level(std::nullopt)); }, docs::kSimdLevel);
  module.def(
      "supported_simd_levels",
      [] {
        std::vector<std::string> names;
        for (const SimdLevel level : supported_simd_levels()) names.emplace_back(simd_level_name(level));
        return names;
      },
      docs::kSupportedSimdLevels);
  bind_rule_and_filter(module);
  bind_catalogue(module);
}
