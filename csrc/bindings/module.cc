// dpr_infer._core. Only the files of this folder name pybind11.
#include "bindings/module.h"

#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/docs.h"
#include "simd_level.h"

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
  bind_index(module);
  bind_catalogue(module);
  bind_row_table(module);
  bind_items_at(module);
  bind_history_tokens(module);
}
