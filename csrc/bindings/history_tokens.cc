// Rows of histories as the backbone's tokens, for Python: NumPy would take longer for one history than to
// write it.
#include <pybind11/typing.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "bindings/array_argument.h"
#include "bindings/docs.h"
#include "bindings/module.h"

namespace dpr {
namespace {

using Histories = py::typing::Iterable<py::array_t<std::int64_t>>;

py::array_t<std::int64_t> history_tokens(const Histories& histories, std::size_t limit) {
  std::vector<View<std::int64_t>> rows;
  std::size_t longest =
      1;  // a user without a history is one pad token, for which the backbone has learned what to say
  for (const py::handle history : histories) {
    rows.push_back(array_of(Int64Array{py::reinterpret_borrow<py::object>(history)}, "histories", 1));
    longest = std::max(longest, std::min(limit, rows.back().shape[0]));
  }
  py::array_t<std::int64_t> tokens({rows.size(), longest});
  std::int64_t* out = tokens.mutable_data();
  for (const View<std::int64_t>& row : rows) {
    const std::size_t read = std::min(limit, row.shape[0]);
    const std::int64_t* const end = row.data + row.shape[0];
    out = std::fill_n(out, longest - read, 0);
    out = std::transform(end - read, end, out, [](std::int64_t r) { return r + 1; });
  }
  return tokens;
}

}  // namespace

void bind_history_tokens(py::module_& module) {
  module.def("history_tokens", &history_tokens, py::arg("histories"), py::arg("limit"), docs::kHistoryTokens);
}

}  // namespace dpr
