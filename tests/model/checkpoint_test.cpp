#include "model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string_view>

#include "space/base/check.h"
#include "tests/support/folder.h"

namespace moebius {
namespace {

using testing::HasSubstr;

class Checkpoint : public testing::Test {
 protected:
  std::string read() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(std::string_view bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  // A file with this header text and `data` bytes behind it.
  void write(std::string_view header, std::size_t data) const {
    const std::uint64_t length = header.size();
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    write(bytes + std::string(header) + std::string(data, 'x'));
  }
  // What opening and verifying says; "" when the file is sound.
  std::string complaint() const {
    try {
      SafetensorsFile(path_).verify();
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), Exit::Storage);
      EXPECT_THAT(error.what(), HasSubstr(path_));
      return error.what();
    }
  }
  std::size_t files() const {
    return static_cast<std::size_t>(
        std::distance(std::filesystem::directory_iterator(folder_.path()), {}));
  }

  const testing_support::Folder folder_;
  const std::string path_ = folder_.file("model.safetensors");
};

// One tensor of each type, with counts that would break alignment if written in this order.
const std::vector<TensorOut> kTensors = {{"half", Dtype::BF16, {3}},
                                         {"index", Dtype::I32, {5, 1}},
                                         {"single", Dtype::F32, {1, 2, 3}},
                                         {"double", Dtype::F64, {2, 2}}};

void fill_bytes(std::size_t index, std::span<std::byte> to) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] = std::byte(17 * index + i);
}

TEST_F(Checkpoint, RestoresEveryTypeBitForBit) {
  write_safetensors(path_, kTensors, {{"block", "{\"xxh3-128\":\"\"}"}, {"step", "7"}}, fill_bytes);
  const SafetensorsFile file(path_);
  file.verify();
  ASSERT_EQ(file.tensors().size(), kTensors.size());
  for (std::size_t i = 0; i < kTensors.size(); ++i) {
    const TensorInfo& info = file.tensors().at(kTensors[i].name);
    EXPECT_EQ(info.dtype, kTensors[i].dtype);
    EXPECT_EQ(info.shape, kTensors[i].shape);
    EXPECT_EQ(info.begin % size_of(info.dtype), 0) << "not aligned: " << kTensors[i].name;
    std::vector<std::byte> expected(static_cast<std::size_t>(info.end - info.begin));
    std::vector<std::byte> actual(expected.size());
    fill_bytes(i, expected);
    file.read(kTensors[i].name, actual);
    EXPECT_EQ(actual, expected) << kTensors[i].name;
  }
  EXPECT_EQ(file.metadata().at("step"), "7");
  EXPECT_EQ(file.metadata().at("block"), "{\"xxh3-128\":\"\"}");
  EXPECT_EQ(file.metadata().at("format"), "pt");
}

TEST_F(Checkpoint, StartsItsDataAtAMultipleOfEightBytes) {
  for (const char* name : {"a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh"}) {
    write_safetensors(path_, {{name, Dtype::F64, {1}}}, {}, fill_bytes);
    EXPECT_EQ((read().size() - sizeof(double)) % 8, 0U) << name;
    EXPECT_EQ(complaint(), "");
  }
}

TEST_F(Checkpoint, GivesTheSameBytesForTheSameContent) {
  write_safetensors(path_, kTensors, {{"step", "7"}}, fill_bytes);
  const std::string first = read();
  write_safetensors(path_, kTensors, {{"step", "7"}}, fill_bytes);
  EXPECT_EQ(read(), first);
}

TEST_F(Checkpoint, FindsEveryTruncation) {
  write_safetensors(path_, kTensors, {}, fill_bytes);
  const std::string whole = read();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    write(whole.substr(0, length));
    EXPECT_NE(complaint(), "") << length << " of " << whole.size() << " bytes passed";
  }
  write(whole + "x");
  EXPECT_NE(complaint(), "") << "one byte too many passed";
  write(whole);
  EXPECT_EQ(complaint(), "");
}

TEST_F(Checkpoint, FindsEveryFlippedBit) {
  write_safetensors(path_, kTensors, {{"step", "7"}}, fill_bytes);
  std::string bytes = read();
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    const auto flip = static_cast<char>(1 << (bit % 8));
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ flip);
    write(bytes);
    EXPECT_NE(complaint(), "") << "bit " << bit % 8 << " of byte " << bit / 8;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ flip);
  }
}

TEST_F(Checkpoint, KeepsTheOldFileWhenWritingFails) {
  write_safetensors(path_, kTensors, {}, fill_bytes);
  const std::string old = read();
  const auto failing = [](std::size_t index, std::span<std::byte>) {
    if (index == 2) throw std::runtime_error("no more");
  };
  EXPECT_THROW(write_safetensors(path_, kTensors, {}, failing), std::runtime_error);
  EXPECT_EQ(read(), old);
  EXPECT_EQ(files(), 1U) << "a temporary file was left behind";
}

TEST_F(Checkpoint, RemovesWhatDeadProcessesLeft) {
  const std::string dead = path_ + ".tmp.2147483647", alive = path_ + ".tmp.1";
  std::ofstream(dead) << "half";
  std::ofstream(alive) << "half";
  write_safetensors(path_, kTensors, {}, fill_bytes);
  EXPECT_FALSE(std::filesystem::exists(dead));
  EXPECT_TRUE(std::filesystem::exists(alive)) << "process 1 may still write it";
}

TEST_F(Checkpoint, RefusesKeysOfTheWriterInMetadata) {
  for (const char* key : {"format", "writer", "xxh3-128"})
    EXPECT_THROW(write_safetensors(path_, kTensors, {{key, "x"}}, fill_bytes), Error);
}

TEST_F(Checkpoint, ReadsFilesOfOtherWriters) {
  write(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[],)"
        R"("data_offsets":[8,12]}}   )",
        12);
  EXPECT_EQ(complaint(), "");
  EXPECT_EQ(SafetensorsFile(path_).tensors().size(), 2U);
}

TEST_F(Checkpoint, NamesTheReasonWhenThereIsNoFile) {
  EXPECT_THAT(complaint(), HasSubstr("No such file"));
  std::filesystem::create_directory(path_);
  EXPECT_THAT(complaint(), HasSubstr("not a regular file"));
  std::filesystem::remove(path_);
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  EXPECT_THAT(complaint(), HasSubstr("not a regular file"));
}

TEST_F(Checkpoint, RefusesHeadersLongerThanTheFile) {
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'000}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    std::string bytes(sizeof length, '\0');
    std::memcpy(bytes.data(), &length, sizeof length);
    write(bytes + "{}");
    EXPECT_THAT(complaint(), HasSubstr("header of"));
  }
}

struct Hostile {
  const char* header;
  std::size_t data;
  const char* complaint;
};

TEST_F(Checkpoint, RefusesHostileHeaders) {
  const std::string nested(100'000, '[');
  const std::string large = "{\"__metadata__\":{\"a\":\"" + std::string(1 << 20, 'a') + "\"}}";
  const std::string many =
      "{\"a\":{\"dtype\":\"F32\",\"shape\":[" + std::string(20'000, '1') + "]}}";
  const std::vector<Hostile> cases = {
      {"", 0, "does not start with '{'"},
      {" {}", 0, "does not start with '{'"},
      {"{", 0, "not JSON"},
      {"{}x", 0, "not JSON"},
      {"{\"a\xff\":1}", 0, "not JSON"},
      {nested.c_str(), 0, "does not start with '{'"},
      {R"({"a":[[[[1]]]]})", 0, "deeper than 4"},
      {R"({"a":[1,1,1,1,1,1,1,1,1]})", 0, "more than 8 numbers"},
      {many.c_str(), 0, "not JSON"},
      {R"({"a":1})", 0, "exactly dtype, shape and data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 0, "exactly dtype, shape and data_offsets"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1}})", 4, "exactly dtype"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "dtype must be"},
      {R"({"a":{"dtype":32,"shape":[1],"data_offsets":[0,4]}})", 4, "dtype must be"},
      {R"({"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}})", 4, "not a list"},
      {R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4, "whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "whole numbers"},
      {R"({"a":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}})", 4, "whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}})", 4, "whole"},
      {R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 0, "empty or overflows"},
      {R"({"a":{"dtype":"F32","shape":[4194305,4194305,211106198978564],"data_offsets":[0,4]}})", 4,
       "whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[1099511627776,4194304],"data_offsets":[0,4]}})", 4,
       "empty or overflows"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})", 4, "whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4e0]}})", 4, "whole numbers"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, "begin <= end"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}})", 8, "begin <= end"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 4, "whole numbers in 0..4"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "shape needs 8 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, "tensors need 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "a hole at byte 0"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
       R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
       12, "an overlap at byte 8"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "an overlap at byte 4"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},)"
       R"("a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "names 'a' twice"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, "twice"},
      {R"({"__metadata__":[]})", 0, "not an object"},
      {R"({"__metadata__":{"a":1}})", 0, "not a string"},
      {R"({"__metadata__":{"writer":"moebius/1"}})", 0, "hash of its writer is missing"},
      {R"({"__metadata__":{"xxh3-128":"00000000000000000000000000000000"}})", 0, "hash of its"},
      {R"({"__metadata__":{"writer":"moebius/1","xxh3-128":""}})", 0, "hash of its"},
      {R"({"__metadata__":{"writer":"moebius/1","xxh3-128":"00000000000000000000000000000000"}})",
       0, "is damaged: content has hash"},
      {large.c_str(), 0, "larger than 1 MiB"},
  };
  for (const Hostile& hostile : cases) {
    write(hostile.header, hostile.data);
    EXPECT_THAT(complaint(), HasSubstr(hostile.complaint))
        << std::string(hostile.header).substr(0, 120);
  }
}

TEST_F(Checkpoint, NoticesAFileThatShrinksWhileItIsOpen) {
  write_safetensors(path_, {{"a", Dtype::F32, {1000}}}, {}, fill_bytes);
  const SafetensorsFile file(path_);
  std::filesystem::resize_file(path_, 1000);
  std::vector<std::byte> buffer(4000);
  EXPECT_THROW(file.read("a", buffer), Error);
  EXPECT_THROW(file.verify(), Error);
}

TEST_F(Checkpoint, RefusesToReadWhatIsNotThere) {
  write_safetensors(path_, kTensors, {}, fill_bytes);
  const SafetensorsFile file(path_);
  std::vector<std::byte> buffer(4);
  EXPECT_THROW(file.read("other", buffer), Error);
  EXPECT_THROW(file.read("single", buffer), Error);
}

}  // namespace
}  // namespace moebius
