// RowTable for Python: from item ids to rows, many at once. It reads Python's own strings, so it lives with
// the bindings; the GIL is held throughout.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "bindings/docs.h"
#include "bindings/module.h"
#include "bindings/row_table.h"

namespace dpr {
namespace {

constexpr int kRowBits = 34;  // as many as a catalogue has rows at most
constexpr std::uint64_t kRowMask = (std::uint64_t{1} << kRowBits) - 1;
constexpr std::uint64_t kEmpty = 0, kRemoved = ~std::uint64_t{0};
constexpr std::size_t kLeastSlots = 16;
constexpr std::size_t kAtOnce = 64;

// The hash of a string's content, which Python keeps with the string; a subclass has no say.
std::uint64_t hash_of(PyObject* id) { return static_cast<std::uint64_t>(PyUnicode_Type.tp_hash(id)); }

// The low bits of a hash choose the place, the high ones are kept beside the row, which is one too large: no
// slot in use is kEmpty, nor, as the last rows are refused, kRemoved.
std::uint64_t slot_of(std::uint64_t hash, std::uint64_t row) { return (hash & ~kRowMask) | (row + 1); }
bool may_be(std::uint64_t slot, std::uint64_t hash) {
  return slot != kRemoved && ((slot ^ hash) & ~kRowMask) == 0;
}
std::int64_t row_in(std::uint64_t slot) { return static_cast<std::int64_t>((slot & kRowMask) - 1); }

// Both the hash and the first characters, which may lie in two cache lines.
void prefetch_id(const PyObject* id) {
  __builtin_prefetch(id);
  __builtin_prefetch(reinterpret_cast<const char*>(id) + sizeof(PyASCIIObject));
}

}  // namespace

RowTable::RowTable(Strings ids) : ids_(std::move(ids)), slots_(kLeastSlots, kEmpty) { add(0); }

void RowTable::add(std::size_t first) {
  const std::size_t end = ids_.size();
  if (end >= kRowMask - 1) throw std::invalid_argument("ids: expected fewer than 2^34 - 2");
  if (first >= end) return;
  if (3 * (n_used_ + end - first) > 2 * slots_.size()) make_room(end - first);
  for (std::size_t row = first; row < end; ++row) {
    PyObject* const id = PyList_GET_ITEM(ids_.ptr(), static_cast<Py_ssize_t>(row));
    if (!PyUnicode_Check(id)) {
      throw py::type_error("ids[" + std::to_string(row) + "]: expected a str, got " + Py_TYPE(id)->tp_name);
    }
    put(id, row);
  }
}

void RowTable::remove(const py::str& id) {
  std::size_t place = hash_of(id.ptr()) & (slots_.size() - 1);
  if (find_from(place, hash_of(id.ptr()), id.ptr()) < 0) throw py::key_error("id: expected one in the table");
  slots_[place] = kRemoved;
  --n_known_;
}

RowsOrNone RowTable::find(const StringSequence& ids) const {
  if (!PyList_Check(ids.ptr()) && !PyTuple_Check(ids.ptr())) {
    throw py::type_error(std::string("ids: expected a list or a tuple, got ") + Py_TYPE(ids.ptr())->tp_name);
  }
  const auto n = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(ids.ptr()));
  PyObject* const* wanted = PySequence_Fast_ITEMS(ids.ptr());
  py::array_t<std::int64_t> rows(static_cast<py::ssize_t>(n));
  std::int64_t* const found = rows.mutable_data();
  for (std::size_t begin = 0; begin < n; begin += kAtOnce) {
    if (!find_some(wanted + begin, std::min(kAtOnce, n - begin), found + begin))
      return RowsOrNone(py::none());
  }
  return RowsOrNone(std::move(rows));
}

// A graph that ran just before leaves little of the ids in the caches, and each id needs four places in
// memory, one after the other: so each pass asks for what the next one reads.
bool RowTable::find_some(PyObject* const* wanted, std::size_t n, std::int64_t* found) const {
  const std::size_t mask = slots_.size() - 1;
  std::uint64_t hashes[kAtOnce];
  std::size_t places[kAtOnce];
  for (std::size_t i = 0; i < n; ++i) prefetch_id(wanted[i]);
  for (std::size_t i = 0; i < n; ++i) {
    if (!PyUnicode_CheckExact(wanted[i])) return false;
    hashes[i] = hash_of(wanted[i]);
    places[i] = hashes[i] & mask;
    __builtin_prefetch(&slots_[places[i]]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    found[i] = candidate_from(places[i], hashes[i]);
    if (found[i] < 0) return false;
    __builtin_prefetch(PySequence_Fast_ITEMS(ids_.ptr()) + found[i]);
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (const PyObject* const known = id_at(found[i])) prefetch_id(known);
  }
  for (std::size_t i = 0; i < n; ++i) {
    found[i] = find_from(places[i], hashes[i], wanted[i]);
    if (found[i] < 0) return false;
  }
  return true;
}

// The row of the next slot, from `place` on, whose id may be the one with this hash, or -1; `place` becomes
// that slot's.
std::int64_t RowTable::candidate_from(std::size_t& place, std::uint64_t hash) const {
  const std::size_t mask = slots_.size() - 1;
  while (slots_[place] != kEmpty && !may_be(slots_[place], hash)) place = (place + 1) & mask;
  return slots_[place] == kEmpty ? -1 : row_in(slots_[place]);
}

// The row of an id, or -1; `place`, at or before which its slot is, becomes the slot's.
std::int64_t RowTable::find_from(std::size_t& place, std::uint64_t hash, PyObject* id) const {
  for (;;) {
    const std::int64_t row = candidate_from(place, hash);
    if (row < 0) return -1;
    PyObject* const known = id_at(row);
    if (known == id || (known != nullptr && PyUnicode_Compare(known, id) == 0)) return row;
    place = (place + 1) & (slots_.size() - 1);
  }
}

// Null where the list has become shorter than its owner promised.
PyObject* RowTable::id_at(std::int64_t row) const {
  return row < PyList_GET_SIZE(ids_.ptr()) ? PyList_GET_ITEM(ids_.ptr(), row) : nullptr;
}

void RowTable::put(PyObject* id, std::size_t row) {
  const std::uint64_t hash = hash_of(id);
  std::size_t place = hash & (slots_.size() - 1);
  if (find_from(place, hash, id) < 0) {
    ++n_used_;
    ++n_known_;
  }
  slots_[place] = slot_of(hash, row);
}

// Lets go of what was removed, and makes twice as many slots as there are ids: so it is long until the next
// time.
void RowTable::make_room(std::size_t n_more) {
  std::size_t n_slots = kLeastSlots;
  while (n_slots < 2 * (n_known_ + n_more)) n_slots *= 2;
  std::vector<std::uint64_t> before(n_slots, kEmpty);
  before.swap(slots_);
  n_used_ = n_known_ = 0;
  for (const std::uint64_t slot : before) {
    if (slot == kEmpty || slot == kRemoved) continue;
    const std::int64_t row = row_in(slot);
    if (PyObject* const id = id_at(row)) put(id, static_cast<std::size_t>(row));
  }
}

void bind_row_table(py::module_& module) {
  py::class_<RowTable>(module, "RowTable", docs::kRowTable)
      .def(py::init<Strings>(), py::arg("ids"), docs::kRowTableInit)
      .def("add", &RowTable::add, py::arg("first"), docs::kRowTableAdd)
      .def("remove", &RowTable::remove, py::arg("id"), docs::kRowTableRemove)
      .def("find", &RowTable::find, py::arg("ids"), docs::kRowTableFind);
}

}  // namespace dpr
