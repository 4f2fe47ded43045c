// Shared by all kernels: the tile of a block, loads of 16 bytes, and sums over a block in a fixed order.
#pragma once

#include "../common/half.h"
#include "launch.h"

namespace mmlandmark {
namespace cuda {

template <class T>
MML_INLINE typename SumOf<T>::Type widened(T value) {
  return value;
}
template <>
MML_INLINE float widened(BFloat16Bits value) {
  return float_from_bfloat16<float>(uint32_t(value.bits));
}
template <>
MML_INLINE float widened(HalfBits value) {
  return float_from_half<float>(uint32_t(value.bits));
}

template <class T>
MML_INLINE T narrowed(typename SumOf<T>::Type value) {
  return value;
}
template <>
MML_INLINE BFloat16Bits narrowed(float value) {
  return {uint16_t(bfloat16_from_float<uint32_t>(value))};
}
template <>
MML_INLINE HalfBits narrowed(float value) {
  return {uint16_t(half_from_float<uint32_t>(value))};
}

// Neighbours in one row, 16 bytes of them by default.
template <class T, int kCount = 16 / sizeof(T)>
struct alignas(kCount * sizeof(T)) Pack {
  static constexpr int kSize = kCount;
  T values[kSize];

  static MML_INLINE bool fits(const T* at) { return reinterpret_cast<uintptr_t>(at) % sizeof(Pack) == 0; }
};

// `count` elements from a row, in one load where they are a whole, aligned pack.
template <class P, class T>
MML_INLINE P load_pack(const T* from, int count) {
  if (count == P::kSize && P::fits(from)) return *reinterpret_cast<const P*>(from);
  P pack{};
#pragma unroll
  for (int i = 0; i < P::kSize; ++i)
    if (i < count) pack.values[i] = from[i];
  return pack;
}
template <class P, class T>
MML_INLINE void store_pack(T* to, const P& pack, int count) {
  if (count == P::kSize && P::fits(to)) {
    *reinterpret_cast<P*>(to) = pack;
    return;
  }
#pragma unroll
  for (int i = 0; i < P::kSize; ++i)
    if (i < count) to[i] = pack.values[i];
}

__device__ inline int thread_id() {
  return int(threadIdx.x);
}

// The part of one map that a block works on.
struct Tile {
  int64_t index, map, row, rows, column, columns;
};

__device__ inline Tile tile_of_block(const Tiling& tiling, const Geometry& size) {
  Tile tile;
  tile.index = blockIdx.x;
  tile.map = tile.index / tiling.per_map();
  const int64_t within = tile.index % tiling.per_map();
  tile.row = within / tiling.column_tiles * tiling.rows_per_tile;
  tile.column = within % tiling.column_tiles * tiling.columns_per_tile;
  const int64_t rows = size.rows() - tile.row, columns = size.width - tile.column;
  tile.rows = rows < tiling.rows_per_tile ? rows : tiling.rows_per_tile;
  tile.columns = columns < tiling.columns_per_tile ? columns : tiling.columns_per_tile;
  return tile;
}

// One row of a map.
struct Line {
  int64_t row, y, z;
};

__device__ inline Line line_of(int64_t row, const Geometry& size) {
  if (size.depth == 1) return {row, row, 0};  // a division of 64 bits is a hundred instructions
  return {row, row % size.height, row / size.height};
}

// visit(line, x, count) for every pack of the tile. The lanes of a part of a warp walk along one row, so that
// neighbouring lanes read neighbouring packs; a narrow row takes fewer lanes.
template <class P, class Visit>
__device__ inline void over_tile(const Tile& tile, const Geometry& size, const Visit& visit) {
  constexpr int kSize = P::kSize;
  const int packs = int((tile.columns + kSize - 1) / kSize);
  int lanes = 1;
  while (lanes < 32 && lanes < packs) lanes *= 2;
  const int lane = thread_id() % lanes, stride = Tiling::kThreads / lanes;
  for (int64_t row = thread_id() / lanes; row < tile.rows; row += stride) {
    const Line line = line_of(tile.row + row, size);
    for (int pack = lane; pack < packs; pack += lanes) {
      const int64_t left = tile.columns - int64_t(pack) * kSize;
      visit(line, tile.column + int64_t(pack) * kSize, left < kSize ? int(left) : kSize);
    }
  }
}

// Merge the states of all threads into that of thread 0, in a fixed order. `shared` has one entry per thread.
template <class State, class Merge>
__device__ inline State over_block(const State& own, State* shared, const Merge& merge) {
  shared[thread_id()] = own;
  for (int half = Tiling::kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (thread_id() < half) merge(shared[thread_id()], shared[thread_id() + half]);
  }
  __syncthreads();
  return shared[0];
}

// The same over the tiles of one map: every thread takes some, in order.
template <class State, class Merge>
__device__ inline State over_tiles(const State* partial, int64_t count, const State& nothing, State* shared,
                                   const Merge& merge) {
  State own = nothing;
  for (int64_t i = thread_id(); i < count; i += Tiling::kThreads) merge(own, partial[i]);
  return over_block(own, shared, merge);
}

// use(T()) with the type of element.
template <class Use>
void with_type(Type type, const Use& use) {
  switch (type) {
    case Type::kFloat:
      return use(float());
    case Type::kDouble:
      return use(double());
    case Type::kBFloat16:
      return use(BFloat16Bits());
    case Type::kHalf:
      return use(HalfBits());
  }
}

#if !defined(MMLANDMARK_CUDA_SHIM)
template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, cudaStream_t stream,
            const Arguments&... arguments) {
  if (blocks > 0) kernel<<<dim3(unsigned(blocks)), dim3(Tiling::kThreads), 0, stream>>>(arguments...);
}
#endif

}  // namespace cuda
}  // namespace mmlandmark
