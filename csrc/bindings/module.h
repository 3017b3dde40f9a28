// The parts that make up dpr_infer._core.
#pragma once

#include <pybind11/pybind11.h>

namespace dpr {

void bind_rule_and_filter(pybind11::module_& module);
void bind_index(pybind11::module_& module);
void bind_catalogue(pybind11::module_& module);
void bind_row_table(pybind11::module_& module);
void bind_items_at(pybind11::module_& module);
void bind_history_tokens(pybind11::module_& module);

}  // namespace dpr
