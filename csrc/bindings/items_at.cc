// What the items of an answer are, for Python: ids, titles and tags by row, out of lists that an item table
// owns. The GIL is held throughout.
#include <pybind11/typing.h>

#include <algorithm>
#include <cstdint>
#include <string>

#include "bindings/array_argument.h"
#include "bindings/docs.h"
#include "bindings/module.h"

namespace dpr {
namespace {

using Strings = py::typing::List<py::str>;
using TagLists = py::typing::List<py::typing::Tuple<py::str, py::ellipsis>>;
using Lists = py::typing::Tuple<Strings, Strings, py::typing::List<Strings>>;

PyObject** places_of(const py::handle& list) { return PySequence_Fast_ITEMS(list.ptr()); }

py::list list_of(const std::int64_t* rows, std::size_t n, const py::list& values) {
  py::list picked(n);
  for (std::size_t i = 0; i < n; ++i) {
    PyList_SET_ITEM(picked.ptr(), static_cast<Py_ssize_t>(i),
                    py::handle(places_of(values)[rows[i]]).inc_ref().ptr());
  }
  return picked;
}

py::list lists_of(const std::int64_t* rows, std::size_t n, const py::list& tags) {
  py::list picked(n);
  for (std::size_t i = 0; i < n; ++i) {
    PyObject* const copy = PySequence_List(places_of(tags)[rows[i]]);
    if (copy == nullptr) throw py::error_already_set();
    PyList_SET_ITEM(picked.ptr(), static_cast<Py_ssize_t>(i), copy);
  }
  return picked;
}

Lists items_at(const Strings& ids, const Strings& titles, const TagLists& tags, const Int64Array& rows) {
  const View<std::int64_t> wanted = array_of(rows, "rows", 1);
  const std::int64_t* const row = wanted.data;
  const auto n = static_cast<std::size_t>(
      std::find_if(row, row + wanted.shape[0], [](std::int64_t r) { return r < 0; }) - row);
  const auto n_items = static_cast<std::int64_t>(std::min({ids.size(), titles.size(), tags.size()}));
  for (std::size_t i = 0; i < n; ++i) {
    if (row[i] < n_items) continue;
    throw py::index_error("rows[" + std::to_string(i) + "]: expected fewer than " + std::to_string(n_items) +
                          ", got " + std::to_string(row[i]));
  }
  // The search that ran just before has left little of the table in the caches.
  PyObject** const places[] = {places_of(ids), places_of(titles), places_of(tags)};
  for (std::size_t i = 0; i < n; ++i) {
    for (PyObject** const place : places) __builtin_prefetch(place + row[i]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (PyObject** const place : places) __builtin_prefetch(place[row[i]]);
  }
  return py::make_tuple(list_of(row, n, ids), list_of(row, n, titles), lists_of(row, n, tags));
}

}  // namespace

void bind_items_at(py::module_& module) {
  module.def("items_at", &items_at, py::arg("ids"), py::arg("titles"), py::arg("tags"), py::arg("rows"),
             docs::kItemsAt);
}

}  // namespace dpr
