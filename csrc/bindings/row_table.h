// From item ids to rows: a hash table over a list of Python strings that somebody else owns.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/typing.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace dpr {

namespace py = pybind11;

using Strings = py::typing::List<py::str>;
using StringSequence = py::typing::Union<Strings, py::typing::Tuple<py::str, py::ellipsis>>;
using RowsOrNone = py::typing::Optional<py::array_t<std::int64_t>>;

// Open addressing with a word a slot: the row, and bits of the hash that spare most looks at other ids.
class RowTable {
 public:
  explicit RowTable(Strings ids);

  // Makes the ids from row `first` to the end of the list known.
  void add(std::size_t first);
  void remove(const py::str& id);
  // Rows of all ids, or None if one of them is unknown or no plain str.
  RowsOrNone find(const StringSequence& ids) const;

 private:
  bool find_some(PyObject* const* wanted, std::size_t n, std::int64_t* found) const;
  std::int64_t candidate_from(std::size_t& place, std::uint64_t hash) const;
  std::int64_t find_from(std::size_t& place, std::uint64_t hash, PyObject* id) const;
  PyObject* id_at(std::int64_t row) const;
  void put(PyObject* id, std::size_t row);
  void make_room(std::size_t n_more);

  Strings ids_;
  std::vector<std::uint64_t> slots_;  // a power of two of them
  std::size_t n_used_ = 0;            // of removed ids, too
  std::size_t n_known_ = 0;
};

}  // namespace dpr
