#include "model/roofline.h"

#include <hwy/cache_control.h>
#include <sched.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "model/backends/cpu/amx.h"
#include "model/backends/cpu/cpu.h"
#include "model/backends/cpu/processor.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "model/backends/cpu/roofline.cpp"
#include "model/backends/cpu/foreach_level.h"  // includes this file once per instruction level

#include "model/backends/cpu/multiply-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moebius::cpu::N_LEVEL {

constexpr int kSums = 12;  // independent ones: more than the latency of a product

template <class Multiply>
double multiply_registers(std::int64_t rounds, float& sink) {
  Vec sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = all(static_cast<float>(i));
  const Vec a = all(1e-3f), b = all(2e-3f);
  for (std::int64_t k = 0; k < rounds; ++k) {
#pragma GCC unroll 12
    for (Vec& sum : sums) sum = Multiply::add(a, b, sum);
  }
  for (const Vec& sum : sums) sink += sum_of(sum);
  const double flops_of_lane = Multiply::kFlops;
  return flops_of_lane * static_cast<double>(kLanes * kSums * rounds);
}

double multiply_lanes([[maybe_unused]] Dtype operand, std::int64_t rounds, float& sink) {
#ifdef MOEBIUS_AVX512_BF16
  if (operand == Dtype::BF16) return multiply_registers<MultiplyBf16>(rounds, sink);
#endif
  return multiply_registers<MultiplyF32>(rounds, sink);
}

void triad(const float* b, const float* c, float* a, std::int64_t n) {
  const Vec s = all(1.5f);
  for (std::int64_t i = 0; i < n; i += kLanes)
    hn::Stream(hn::MulAdd(s, hn::Load(kTag, c + i), hn::Load(kTag, b + i)), kTag, a + i);
  hwy::FlushStream();
}

}  // namespace moebius::cpu::N_LEVEL
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moebius::cpu {
namespace {

MOEBIUS_EXPORT(multiply_lanes);
MOEBIUS_EXPORT(triad);

constexpr int kRepeats = 7;

// Keeps the calling thread on the i-th processor that the process may use: the kernel is slow to
// spread threads that live for milliseconds.
void stay_on_processor(int i) {
  cpu_set_t allowed, one;
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  for (int processor = 0, seen = 0; processor < CPU_SETSIZE; ++processor) {
    if (!CPU_ISSET(processor, &allowed) || seen++ != i % CPU_COUNT(&allowed)) continue;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    sched_setaffinity(0, sizeof one, &one);
    return;
  }
}

// Median over repeats of the work of all threads per second, from the first start to the last end.
double rate(int threads, const std::function<double(int)>& work) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> rates;
  for (int repeat = 0; repeat <= kRepeats; ++repeat) {
    std::vector<double> done(static_cast<std::size_t>(threads));
    std::vector<Clock::time_point> begin(done.size()), end(done.size());
    std::barrier start(threads);
    std::vector<std::thread> team;
    for (int i = 0; i < threads; ++i)
      team.emplace_back([&, i, at = static_cast<std::size_t>(i)] {
        stay_on_processor(i);
        start.arrive_and_wait();
        begin[at] = Clock::now();
        done[at] = work(i);
        end[at] = Clock::now();
      });
    for (std::thread& thread : team) thread.join();
    const std::chrono::duration<double> seconds =
        *std::max_element(end.begin(), end.end()) - *std::min_element(begin.begin(), begin.end());
    double sum = 0;
    for (const double each : done) sum += each;
    if (repeat > 0) rates.push_back(sum / seconds.count());  // the first one warms up
  }
  std::nth_element(rates.begin(), rates.begin() + kRepeats / 2, rates.end());
  return rates[kRepeats / 2];
}

}  // namespace
}  // namespace moebius::cpu

namespace moebius {

double peak_flops(Dtype operand, int threads) {
  constexpr std::int64_t kRounds = 20'000'000;
  if (const auto* engine = cpu::amx_engine(); engine != nullptr && operand == Dtype::BF16)
    return cpu::rate(threads, [&](int) { return engine->multiply_registers(kRounds); });
  const auto kernel = MOEBIUS_DISPATCH(cpu::multiply_lanes);
  std::vector<float> sinks(static_cast<std::size_t>(threads) * 16);
  return cpu::rate(threads, [&](int i) {
    return kernel(operand, kRounds, sinks[static_cast<std::size_t>(i) * 16]);
  });
}

const char* bf16_unit_name() {
  switch (cpu::level()) {
    case cpu::Level::Amx:
      return "AMX";
    case cpu::Level::Avx512Bf16:
      return "AVX512-BF16";
    default:
      return "emulated";
  }
}

double memory_bandwidth(int threads) {
  constexpr std::int64_t kElements = std::int64_t{64} << 20;  // of an array: 256 MiB
  cpu::Cpu memory(Dtype::F32, 1);
  float* arrays[3];
  for (float*& array : arrays) {
    array = reinterpret_cast<float*>(memory.allocate(kElements * size_of(Dtype::F32)));
    if (array == nullptr) throw std::bad_alloc();
    std::fill_n(array, kElements, 1.0f);
  }
  const auto kernel = MOEBIUS_DISPATCH(cpu::triad);
  const std::int64_t share = kElements / threads / 1024 * 1024;
  return cpu::rate(threads, [&](int i) {
    const std::int64_t first = i * share;
    kernel(arrays[1] + first, arrays[2] + first, arrays[0] + first, share);
    return 12.0 * static_cast<double>(share);
  });
}

}  // namespace moebius
#endif  // HWY_ONCE
