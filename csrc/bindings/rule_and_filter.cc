// ScoreRule and TagFilter for Python.
#include <pybind11/stl.h>

#include "bindings/array_argument.h"
#include "bindings/docs.h"
#include "bindings/module.h"
#include "score_rule.h"
#include "tag_filter.h"

namespace dpr {
namespace {

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

}  // namespace

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

}  // namespace dpr
