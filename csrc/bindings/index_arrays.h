// Index arrays between Python's dict and the core's view.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/typing.h>

#include "index/block_index.h"
#include "index/build_index.h"

namespace dpr {

using ArrayDict = pybind11::typing::Dict<pybind11::str, pybind11::array>;

// Checks names, dtypes and shapes; the dict must keep its arrays alive. Throws std::invalid_argument or
// pybind11::type_error.
IndexArrays index_from_dict(const ArrayDict& dict, const Parts& parts, std::size_t dim);

// Copies the arrays for Python.
ArrayDict index_copies(const BlockIndex& index);

}  // namespace dpr
