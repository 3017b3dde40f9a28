// Large pages for large arrays that are read here and there.
#pragma once

#include <cstddef>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace dpr {

// Reserves room for n elements, in large pages where Linux gives them to those who ask. A block of codes is a
// small page, and blocks are visited in no order: at a million items, looking up pages took a quarter of a
// scan.
template <class T>
void reserve_huge(std::vector<T>& values, std::size_t n) {
  values.reserve(n);
#ifdef __linux__
  constexpr std::size_t kPage = 4096;
  constexpr std::size_t kWorthwhile = std::size_t{4} << 20;
  const std::size_t bytes = n * sizeof(T);
  if (bytes < kWorthwhile) return;
  char* begin = reinterpret_cast<char*>(values.data());
  const std::size_t skipped = (kPage - reinterpret_cast<std::size_t>(begin) % kPage) % kPage;
  // Advice: where it is not taken, nothing is lost.
  static_cast<void>(madvise(begin + skipped, (bytes - skipped) / kPage * kPage, MADV_HUGEPAGE));
#endif
}

}  // namespace dpr
