#include "model/arena.h"

#include <gtest/gtest.h>

#include <cstring>

namespace moebius {
namespace {

struct alignas(64) Memory {
  std::byte bytes[1024];
};

TEST(Arena, SavesFromTheBottomAndScratchesFromTheTop) {
  Memory memory;
  Arena arena(memory.bytes, 1024);
  const View a = arena.save(Dtype::F32, 3, 5), b = arena.save(Dtype::F64, 1, 1);
  const View c = arena.scratch(Dtype::I32, 4, 4), d = arena.scratch(Dtype::F32, 1, 1);
  EXPECT_EQ(a.data, memory.bytes);
  EXPECT_EQ(b.data, memory.bytes + 64);
  EXPECT_EQ(c.data, memory.bytes + 1024 - 64);
  EXPECT_EQ(d.data, memory.bytes + 1024 - 128);
  EXPECT_EQ(a.ld, 5);
  EXPECT_EQ(arena.peak(), 256);
}

TEST(Arena, ScopeGivesScratchBackAndPeakRemembersIt) {
  Memory memory;
  Arena arena(memory.bytes, 1024);
  arena.save(Dtype::F32, 1, 16);
  {
    Arena::Scope outer(arena);
    const View first = arena.scratch(Dtype::F32, 1, 32);
    {
      Arena::Scope inner(arena);
      arena.scratch(Dtype::F32, 1, 64);
    }
    EXPECT_EQ(arena.scratch(Dtype::F32, 1, 64).data, first.data - 256);
  }
  EXPECT_EQ(arena.peak(), 64 + 128 + 256);
  EXPECT_EQ(arena.scratch(Dtype::F32, 1, 1).data, memory.bytes + 1024 - 64);
}

TEST(Arena, OverflowIsABugThatNamesTheNumbers) {
  Memory memory;
  Arena arena(memory.bytes, 1024);
  arena.save(Dtype::F32, 1, 128);
  arena.scratch(Dtype::F32, 1, 112);
  arena.save(Dtype::F32, 1, 16);  // exactly full
  try {
    arena.save(Dtype::F32, 1, 1);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), Exit::Bug);
    EXPECT_NE(std::string(error.what()).find("1024 B"), std::string::npos) << error.what();
  }
}

TEST(Arena, ResetStartsOverAndKeepsThePeak) {
  Memory memory;
  Arena arena(memory.bytes, 1024);
  for (int i = 0; i < 3; ++i) {
    arena.reset();
    EXPECT_EQ(arena.save(Dtype::F32, 1, 200).data, memory.bytes);
  }
  EXPECT_EQ(arena.peak(), 832);
}

// The plan: an arena of the dry run's peak is just large enough for the same requests.
TEST(Arena, DryRunMeasuresWhatARealOneNeeds) {
  const auto requests = [](Arena& arena) {
    arena.save(Dtype::F32, 7, 3);
    Arena::Scope scope(arena);
    arena.scratch(Dtype::F64, 5, 5);
    arena.save(Dtype::I32, 9, 1);
  };
  Arena dry;
  requests(dry);
  EXPECT_TRUE(dry.dry());
  EXPECT_NE(dry.save(Dtype::F32, 1, 1).data, nullptr);
  Arena measured;
  requests(measured);
  Memory memory;
  Arena enough(memory.bytes, measured.peak()), small(memory.bytes, measured.peak() - 64);
  EXPECT_NO_THROW(requests(enough));
  EXPECT_THROW(requests(small), Error);
}

TEST(Arena, ContextsAreZeroedDistinctAndReusedAfterReset) {
  struct Context {
    double numbers[1000];  // 8 KB: a page holds eight
  };
  Arena arena;
  std::vector<Context*> first;
  for (int i = 0; i < 20; ++i) {
    first.push_back(&arena.context<Context>());
    EXPECT_EQ(first.back()->numbers[999], 0);
    std::memset(static_cast<void*>(first.back()), i + 1, sizeof(Context));
  }
  for (int i = 0; i < 20; ++i) {
    unsigned char byte = 0;
    std::memcpy(&byte, &first[static_cast<std::size_t>(i)]->numbers[500], 1);
    EXPECT_EQ(byte, i + 1);  // nobody wrote over it
  }
  arena.reset();
  for (int i = 0; i < 20; ++i) {
    Context& again = arena.context<Context>();
    EXPECT_EQ(&again, first[static_cast<std::size_t>(i)]);
    EXPECT_EQ(again.numbers[500], 0);
  }
}

}  // namespace
}  // namespace moebius
