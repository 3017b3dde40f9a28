#include "bindings/index_arrays.h"

#include "bindings/array_argument.h"
#include "bindings/docs.h"
#include "bindings/module.h"
#include "catalogue_check.h"
#include "huge_pages.h"

#include <pybind11/stl.h>

namespace dpr {
namespace {

constexpr const char* kNames[] = {"codes", "rows", "cluster", "bounds", "centres"};

py::object entry(const ArrayDict& dict, const char* name) {
  if (!dict.contains(name)) {
    throw std::invalid_argument(
        std::string("index: expected the arrays codes, rows, cluster, bounds, centres; ") +
        "missing: " + name);
  }
  return dict[name];
}

void check_names(const ArrayDict& dict) {
  for (const auto& item : dict) {
    const std::string name = py::str(item.first);
    bool known = false;
    for (const char* expected : kNames) known = known || name == expected;
    if (!known) {
      throw std::invalid_argument("index: expected the arrays codes, rows, cluster, bounds, centres; got '" +
                                  name + "' too");
    }
  }
}

ArrayDict to_dict(OwnedIndex index, const Parts& parts, std::size_t dim) {
  const std::size_t n_blocks = index.cluster.size();
  const std::size_t n_clusters = index.centres.size() / dim;
  ArrayDict dict;
  dict["codes"] = array_from(std::move(index.codes), {n_blocks, parts.n_quads(), kBlockItems, 4});
  dict["rows"] = array_from(std::move(index.rows), {n_blocks, kBlockItems});
  dict["cluster"] = array_from(std::move(index.cluster), {n_blocks});
  dict["bounds"] = array_from(std::move(index.bounds), {parts.count, kBoundKinds, n_blocks});
  dict["centres"] = array_from(std::move(index.centres), {n_clusters, dim});
  return dict;
}

ArrayDict build_index_of(const FloatArray& vectors, const std::vector<std::size_t>& parts,
                         std::size_t threads, const std::optional<std::string>& simd_level) {
  const View<float> matrix = array_of(vectors, "vectors", 2);
  const CatalogueView view{matrix.data, nullptr, matrix.shape[0], matrix.shape[1], 0};
  check_size(view);
  const Parts checked = Parts::from_widths(parts, view.dim);
  const KernelTable& kernels = kernels_for(choose_simd_level(simd_level));
  OwnedIndex index;
  {
    const py::gil_scoped_release released;
    check_vectors("vectors", view.vectors, view.n_items, view.dim);
    index = build_index(view, checked, kernels, checked_threads(threads));
  }
  return to_dict(std::move(index), checked, view.dim);
}

}  // namespace

IndexArrays index_from_dict(const ArrayDict& dict, const Parts& parts, std::size_t dim) {
  check_names(dict);
  const View<std::uint32_t> cluster = array_of(Uint32Array{entry(dict, "cluster")}, "index: cluster", 1);
  const View<float> centres = array_of(FloatArray{entry(dict, "centres")}, "index: centres", 2);
  const std::size_t n_blocks = cluster.shape[0];
  IndexArrays arrays{};
  arrays.n_blocks = n_blocks;
  arrays.n_clusters = centres.shape[0];
  arrays.cluster = cluster.data;
  arrays.centres =
      array_of_shape(FloatArray{entry(dict, "centres")}, "index: centres", {centres.shape[0], dim});
  arrays.codes = array_of_shape(ByteArray{entry(dict, "codes")}, "index: codes",
                                {n_blocks, parts.n_quads(), kBlockItems, 4});
  arrays.rows = array_of_shape(Uint32Array{entry(dict, "rows")}, "index: rows", {n_blocks, kBlockItems});
  arrays.bounds = array_of_shape(FloatArray{entry(dict, "bounds")}, "index: bounds",
                                 {parts.count, kBoundKinds, n_blocks});
  return arrays;
}

ArrayDict index_copies(const BlockIndex& index) {
  const IndexArrays& from = index.arrays();
  const std::size_t n = from.n_blocks;
  const Parts& parts = index.parts();
  OwnedIndex copy;
  reserve_huge(copy.codes, n * index.block_bytes());
  copy.codes.assign(from.codes, from.codes + n * index.block_bytes());
  copy.rows.assign(from.rows, from.rows + n * kBlockItems);
  copy.cluster.assign(from.cluster, from.cluster + n);
  copy.bounds.assign(from.bounds, from.bounds + parts.count * kBoundKinds * n);
  copy.centres.assign(from.centres, from.centres + from.n_clusters * index.dim());
  return to_dict(std::move(copy), parts, index.dim());
}

void bind_index(py::module_& module) {
  module.def("build_index", &build_index_of, py::arg("vectors"), py::kw_only(), py::arg("parts"),
             py::arg("threads") = 1, py::arg("simd_level") = py::none(), docs::kBuildIndex);
}

}  // namespace dpr
