// One profile per axis and map: one exponential per row and column instead of one per pixel.
#pragma once

#include <vector>

#include "../common/peak_shape.h"
#include "blocks.h"

namespace mmlandmark {

// Profiles of all maps side by side; `Value` is a function of (pixel, center, sigma).
template <class Sum>
class AllProfiles {
 public:
  template <class Value>
  AllProfiles(const Geometry& size, int64_t maps, int64_t dims, const Sum* landmarks,
              const Widths<Sum>& sigma, const Value& value)
      : size_(size), stride_(size.depth + size.height + size.width + kPadding), data_(maps * stride_) {
    at::parallel_for(0, maps, std::max<int64_t>(1, 4096 / stride_), [&](int64_t begin, int64_t end) {
      for (int64_t map = begin; map < end; ++map) {
        Sum* to = data_.data() + map * stride_;
        const Sum* center = landmarks + map * dims;
        for (int64_t z = 0; z < size.depth; ++z)
          *to++ = dims == 3 ? value(Sum(z), center[2], sigma.at(map, 2)) : value(Sum(0), Sum(0), Sum(1));
        for (int64_t y = 0; y < size.height; ++y) *to++ = value(Sum(y), center[1], sigma.at(map, 1));
        for (int64_t x = 0; x < size.width; ++x) *to++ = value(Sum(x), center[0], sigma.at(map, 0));
      }
    });
  }

  Profiles<Sum> of(int64_t map) const {
    const Sum* from = data_.data() + map * stride_;
    return {from, from + size_.depth, from + size_.depth + size_.height};
  }

 private:
  Geometry size_;
  int64_t stride_;
  std::vector<Sum> data_;
};

}  // namespace mmlandmark
