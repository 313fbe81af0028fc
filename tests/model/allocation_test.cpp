// A training step takes no memory from the system once every kind of step was seen.

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "space/scale.h"
#include "tests/model/model_support.h"

namespace {
std::atomic<long> allocations = 0;

void* counted(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  void* memory = nullptr;
  if (posix_memalign(&memory, std::max(alignment, sizeof(void*)), std::max<std::size_t>(bytes, 1)))
    throw std::bad_alloc();
  return memory;
}
}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }

namespace moebius::testing {
namespace {

long minor_faults() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

constexpr std::int64_t kBatch = 4, kSeq = 64, kVocab = 71;

void expect_steps_without_memory(const std::string& block, const char* precision,
                                 const Recipe& recipe) {
  SCOPED_TRACE(block + " " + precision + " " + recipe.optimizer);
  LearnerOptions fast = options(precision);
  fast.backend = "cpu";
  Learner learner(baseline(block + "-nano", builtin_catalog().types), recipe, kVocab, fast,
                  builtin_catalog());
  const auto tokens = random_tokens(kBatch * kSeq, kVocab, 3);
  const auto targets = random_tokens(kBatch * kSeq, kVocab, 4);
  for (int t = 0; t < 2; ++t) learner.train(tokens, targets, t, 8);
  const long taken = allocations, faults = minor_faults();
  for (int t = 2; t < 8; ++t) learner.train(tokens, targets, t, 8);
  EXPECT_EQ(allocations - taken, 0);
  EXPECT_LT(minor_faults() - faults, 6 * 10);
}

TEST(Step, TakesNoMemoryAfterTheSecond) {
  Recipe relative = recipe(kBatch, kSeq);
  relative.optimizer = "adafactor";
  relative.update_scale = "parameter";
  for (const std::string& block : baseline_blocks())
    for (const char* precision : {"fp32", "bf16"})
      for (const Recipe& each : {recipe(kBatch, kSeq), relative})
        expect_steps_without_memory(block, precision, each);
}

TEST(Step, AllocationsAreSeen) {
  const long before = allocations;
  delete new int(1);
  EXPECT_EQ(allocations - before, 1);
}

}  // namespace
}  // namespace moebius::testing
