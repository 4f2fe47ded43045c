// The highest pixel of every map and a position between the pixels, on a GPU.
#include "../common/refined_peak.h"
#include "tiles.cuh"

namespace mmlandmark {
namespace cuda {
namespace {

struct Higher {
  __device__ void operator()(Peak& best, const Peak& other) const {
    if (other.index >= 0 && is_higher(other.value, other.index, best.value, best.index)) best = other;
  }
};

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, Tiling::kBlocks)
    peaks_kernel(const T* heatmaps, MapLayout layout, Tiling tiling, Peak* partial) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Peak sums[Tiling::kThreads];
  const Tile tile = tile_of_block(tiling, layout.size);
  const T* map = heatmaps + layout.map_offset(tile.map);
  Sum highest = 0;
  int64_t at = -1;
  over_tile<Pack<T>>(tile, layout.size, [&](const Line& line, int64_t x, int count) {
    const Pack<T> values = load_pack<Pack<T>>(map + layout.line_offset(line.y, line.z) + x, count);
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) {
      if (i >= count) continue;
      const Sum value = widened(values.values[i]);
      const int64_t index = line.row * layout.size.width + x + i;
      if (!is_higher(value, index, highest, at)) continue;
      highest = value;
      at = index;
    }
  });
  const Peak best = over_block(Peak{double(highest), at}, sums, Higher());
  if (thread_id() == 0) partial[tile.index] = best;
}

template <class T>
__global__ void __launch_bounds__(Tiling::kThreads, 1)
    refine_kernel(const T* heatmaps, MapLayout layout, const Peak* partial, int64_t per_map,
                  Refinement method, int64_t radius, typename SumOf<T>::Type smooth, int dims,
                  typename SumOf<T>::Type* points, int64_t* pixels, typename SumOf<T>::Type* values) {
  using Sum = typename SumOf<T>::Type;
  __shared__ Peak sums[Tiling::kThreads];
  const int64_t map = blockIdx.x;
  const Peak best = over_tiles(partial + map * per_map, per_map, Peak{0, -1}, sums, Higher());
  if (thread_id() != 0) return;
  const Geometry& size = layout.size;
  const PeakFrame frame{
      {best.index % size.width, best.index / size.width % size.height, best.index / size.width / size.height},
      {size.width, size.height, size.depth},
      dims};
  const T* from = heatmaps + layout.map_offset(map);
  const auto read = [&](int64_t x, int64_t y, int64_t z) {
    return widened(from[z * layout.by_slice + y * layout.by_row + x]);
  };
  Sum point[3];
  refine_peak(method, frame, radius, smooth, Sum(best.value), read, point);
#pragma unroll
  for (int axis = 0; axis < 3; ++axis) {
    if (axis >= dims) continue;
    points[map * dims + axis] = point[axis];
    pixels[map * dims + axis] = frame.pixel[axis];
  }
  values[map] = Sum(best.value);
}

}  // namespace

void refined_peak(Type type, const Maps& heatmaps, Refinement method, int64_t radius, double smooth,
                  Peak* partial, void* points, int64_t* pixels, void* values, int64_t dims,
                  cudaStream_t stream) {
  const Tiling tiling(heatmaps.layout.count, heatmaps.layout.size);
  with_type(type, [&](auto element) {
    using T = decltype(element);
    using Sum = typename SumOf<T>::Type;
    const T* data = static_cast<const T*>(heatmaps.data);
    launch(peaks_kernel<T>, tiling.tiles(), stream, data, heatmaps.layout, tiling, partial);
    launch(refine_kernel<T>, tiling.maps, stream, data, heatmaps.layout, partial, tiling.per_map(), method,
           radius, Sum(smooth), int(dims), static_cast<Sum*>(points), pixels, static_cast<Sum*>(values));
  });
}

}  // namespace cuda
}  // namespace mmlandmark
