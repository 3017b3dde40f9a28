// Index arrays between Python's dict and the core's view.
#pragma once

#include <pybind11/pybind11.h>

#include "index/block_index.h"
#include "index/build_index.h"

namespace dpr {

// Checks names, dtypes and shapes; the dict must keep its arrays alive. Throws std::invalid_argument or
// pybind11::type_error.
IndexArrays index_from_dict(const pybind11::dict& dict, const Parts& parts, std::size_t dim);

// Copies the arrays for Python.
pybind11::dict index_copies(const BlockIndex& index);

}  // namespace dpr
