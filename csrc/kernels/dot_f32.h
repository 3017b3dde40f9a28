// Contract of the float32 dot product kernels. Plain data only: the AVX files include this header.
//
// All of them compute the canonical dot product of docs/design.md, with the same bits: 16 lanes from +0, one
// fused multiply-add an element, elements past the end as +0 times +0, then the lanes folded by 8, 4, 2, 1.
// The padding is part of the contract: it turns a lane's -0 (an underflown negative product) into +0.
//
// No alignment beyond that of float is asked for, and nothing past an array's last element is read.
// query has `dim` elements, dim >= 1. out has n_rows elements and overlaps no input. n_rows may be 0.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace dpr {

// out[i] = <query, rows + i * dim>
using DotRowsF32 = void(const float* query, const float* rows, size_t n_rows, size_t dim, float* out);

// out[i] = <query, base + index[i] * dim>
using DotGatherF32 = void(const float* query, const float* base, const uint32_t* index, size_t n_rows,
                          size_t dim, float* out);

DotRowsF32 dot_rows_f32_scalar;
DotGatherF32 dot_gather_f32_scalar;
DotRowsF32 dot_rows_f32_avx2;
DotGatherF32 dot_gather_f32_avx2;
DotRowsF32 dot_rows_f32_avx512;
DotGatherF32 dot_gather_f32_avx512;
DotRowsF32 dot_rows_f32_neon;
DotGatherF32 dot_gather_f32_neon;

}  // namespace dpr
