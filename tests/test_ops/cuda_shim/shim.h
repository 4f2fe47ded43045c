// Just enough of CUDA to run the kernels on a CPU: every thread of a block is a std::thread, blocks run one
// after the other. For tests only; it shows wrong results and, under ThreadSanitizer, missing barriers.
#pragma once

#include <barrier>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#define MMLANDMARK_CUDA_THREADS 32  // a std::thread costs more than a CUDA thread
#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __launch_bounds__(...)

using cudaStream_t = void*;

struct Index {
  unsigned x = 0;
};
inline thread_local Index threadIdx, blockIdx;
inline std::barrier<>* block_barrier = nullptr;
inline bool with_barriers = true;

inline void __syncthreads() {
  if (with_barriers) block_barrier->arrive_and_wait();
}

namespace mmlandmark {
namespace cuda {

constexpr int kShimThreads = MMLANDMARK_CUDA_THREADS;

template <class... Parameters, class... Arguments>
void launch(void (*kernel)(Parameters...), int64_t blocks, cudaStream_t, const Arguments&... arguments) {
  std::barrier<> within(kShimThreads), between(kShimThreads);
  block_barrier = &within;
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kShimThreads; ++thread)
    threads.emplace_back([&, thread] {
      threadIdx.x = thread;
      for (int64_t block = 0; block < blocks; ++block) {
        blockIdx.x = unsigned(block);
        kernel(arguments...);
        between.arrive_and_wait();  // shared memory is static here: the next block takes it over
      }
    });
  for (auto& thread : threads) thread.join();
}

}  // namespace cuda
}  // namespace mmlandmark
