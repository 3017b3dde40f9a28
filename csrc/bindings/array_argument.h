// Python arguments that must be NumPy arrays, checked by hand: the error of a failed overload names none of
// them. Never converted, never copied.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <vector>

namespace dpr {

// An argument that must be a NumPy array of T. Takes anything from Python; array_of checks it by name.
template <class T>
struct ArrayArgument {
  pybind11::object object;
};

using FloatArray = ArrayArgument<float>;
using Int64Array = ArrayArgument<std::int64_t>;
using WordArray = ArrayArgument<std::uint64_t>;
using ByteArray = ArrayArgument<std::uint8_t>;
using Uint32Array = ArrayArgument<std::uint32_t>;

}  // namespace dpr

namespace pybind11::detail {

template <class T>
struct type_caster<dpr::ArrayArgument<T>> {
  PYBIND11_TYPE_CASTER(dpr::ArrayArgument<T>, const_name("numpy.typing.NDArray[") +
                                                  npy_format_descriptor<T>::name + const_name("]"));
  bool load(handle source, bool) {
    value.object = reinterpret_borrow<object>(source);
    return true;
  }
};

}  // namespace pybind11::detail

namespace dpr {

namespace py = pybind11;

// A checked array in C order.
template <class T>
struct View {
  const T* data;
  std::vector<std::size_t> shape;
};

inline std::string shape_text(const std::vector<std::size_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

template <class T>
std::string dtype_name() {
  return py::str(py::dtype::of<T>());
}

template <class T>
View<T> array_of(const ArrayArgument<T>& argument, const char* name, std::size_t rank) {
  if (!py::isinstance<py::array>(argument.object)) {
    throw py::type_error(std::string(name) + ": expected a numpy.ndarray of " + dtype_name<T>() + ", got " +
                         Py_TYPE(argument.object.ptr())->tp_name);
  }
  const auto array = py::reinterpret_borrow<py::array>(argument.object);
  if (!py::isinstance<py::array_t<T, 0>>(array)) {
    throw py::type_error(std::string(name) + ": expected dtype " + dtype_name<T>() + ", got " +
                         std::string(py::str(array.dtype())));
  }
  if (static_cast<std::size_t>(array.ndim()) != rank) {
    throw std::invalid_argument(std::string(name) + ": expected rank " + std::to_string(rank) +
                                ", got rank " + std::to_string(array.ndim()));
  }
  constexpr int kWanted = py::array::c_style | py::detail::npy_api::NPY_ARRAY_ALIGNED_;
  if ((array.flags() & kWanted) != kWanted) {
    throw std::invalid_argument(std::string(name) +
                                ": expected a C-contiguous array aligned to its dtype, got another");
  }
  return {static_cast<const T*>(array.data()), {array.shape(), array.shape() + rank}};
}

template <class T>
const T* array_of_shape(const ArrayArgument<T>& argument, const char* name,
                        const std::vector<std::size_t>& shape) {
  const View<T> view = array_of(argument, name, shape.size());
  if (view.shape != shape) {
    throw std::invalid_argument(std::string(name) + ": expected shape " + shape_text(shape) + ", got " +
                                shape_text(view.shape));
  }
  return view.data;
}

// An array that owns what was in `values`.
template <class T>
py::array_t<T> array_from(std::vector<T> values, const std::vector<std::size_t>& shape) {
  auto* owned = new std::vector<T>(std::move(values));
  const py::capsule owner(owned, [](void* pointer) { delete static_cast<std::vector<T>*>(pointer); });
  return py::array_t<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()), owned->data(), owner);
}

}  // namespace dpr
