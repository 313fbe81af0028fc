#include "space/base/json.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/support/folder.h"
#include "tests/support/test_types.h"

namespace moebius {
namespace {

using testing::error_of;

std::string syntax(const std::string& text) {
  return error_of([&] { parse_json(text, "s.json"); });
}

TEST(Json, AcceptsWhatRfc8259Does) {
  const Json value = parse_json(R"( {"a":[1,-2,3.5e2,true,null,"x\u00e9\n"],"b":{}} )", "s");
  EXPECT_EQ(value["a"].size(), 6u);
  EXPECT_EQ(value["a"][2], 350.0);
  EXPECT_EQ(value["a"][5], "x\xc3\xa9\n");
  EXPECT_EQ(parse_json("\xef\xbb\xbf{\"a\":1}", "s")["a"], 1);  // byte order mark
}

TEST(Json, NamesLineAndColumnOfSyntaxErrors) {  // B12
  EXPECT_TRUE(syntax("{\"a\": 1,}").starts_with("s.json:1:9: syntax error"))
      << syntax("{\"a\": 1,}");
  EXPECT_TRUE(syntax("{\n \"a\": x}").starts_with("s.json:2:7: syntax error"));
  EXPECT_TRUE(syntax("{} x").starts_with("s.json:1:4: syntax error"));
  EXPECT_EQ(syntax(""), "s.json:1:1: syntax error: empty; a JSON value is needed");
  EXPECT_TRUE(syntax("{\"a\":1 /* no */}").starts_with("s.json:1:8: syntax error"));
  EXPECT_TRUE(syntax("{'a':1}").starts_with("s.json:1:2: syntax error"));
  EXPECT_TRUE(syntax("[1,\n2").starts_with("s.json:2:2: syntax error")) << syntax("[1,\n2");
}

TEST(Json, RefusesNumbersThatADoubleCannotHold) {  // B04
  EXPECT_EQ(syntax("[1e400]"), "s.json:1:6: number overflow parsing '1e400'");
  EXPECT_EQ(syntax("[1e-400]"), "s.json:1:8: number too small for a double: 1e-400");
  EXPECT_TRUE(syntax("[NaN]").starts_with("s.json:1:2: syntax error"));
  EXPECT_TRUE(syntax("[Infinity]").starts_with("s.json:1:2: syntax error"));
  EXPECT_EQ(syntax("[0.0, 0e5, 1e308]"), "");
}

TEST(Json, RefusesDuplicateKeysByPointer) {  // B08
  EXPECT_EQ(syntax(R"({"a":1,"b":[{"x":1},{"c":0,"c":0}],"a":2})"), "s.json:/b/1/c: duplicate key");
  EXPECT_EQ(syntax(R"({"a/b~":1,"a/b~":2})"), "s.json:/a~1b~0: duplicate key");
  EXPECT_EQ(syntax(R"({"a":{"a":1},"b":{"a":2}})"), "");
}

TEST(Json, StopsAtDepth33BeforeBuildingMore) {  // B09
  EXPECT_EQ(syntax(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_EQ(syntax(std::string(33, '[')), "s.json:1:33: nested deeper than 32");
  EXPECT_EQ(syntax(std::string(4 << 20, '[')), "s.json:1:33: nested deeper than 32");
}

TEST(Json, BoundsNodesKeysAndStrings) {
  std::string many = "[0";
  for (int i = 0; i < JsonLimits::kNodes; ++i) many += ",0";
  EXPECT_TRUE(syntax(many + "]").ends_with(": more than 100000 values"));
  EXPECT_EQ(syntax("{\"" + std::string(65, 'k') + "\":1}"),
            "s.json:1:68: key longer than 64 bytes");
  EXPECT_EQ(syntax("[\"" + std::string(4097, 'k') + "\"]"),
            "s.json:1:4100: string longer than 4096 bytes");
  EXPECT_EQ(syntax(std::string((4 << 20) + 1, ' ')), "s.json: larger than 4 MiB (4194305 bytes)");
}

TEST(Json, RefusesBadEncodingAndControlCharacters) {  // B11
  EXPECT_NE(syntax("[\"\xff\"]").find("ill-formed UTF-8 byte"), std::string::npos);
  EXPECT_NE(syntax("[\"\xc0\xaf\"]").find("ill-formed UTF-8 byte"), std::string::npos);
  EXPECT_NE(syntax("[\"\\ud800\"]").find("surrogate"), std::string::npos);
  EXPECT_NE(syntax(std::string("\xff\xfe{\0}\0", 6)), "");  // UTF-16
  EXPECT_EQ(syntax("[\"a\\u0000b\"]"), "s.json:1:11: control character \\x00 in a string");
  EXPECT_EQ(syntax("[\"\\u001b[31m\"]"), "s.json:1:13: control character \\x1b in a string");
  EXPECT_EQ(syntax("{\"\\u007f\":1}"), "s.json:1:9: control character \\x7f in a key");
  EXPECT_NE(syntax("[\"a\x01\"]"), "");
  for (const char c : syntax("[\"\x1b[31m\"]")) EXPECT_GE(c, ' ');
}

class LoadJson : public ::testing::Test {
 protected:
  const testing_support::Folder directory_;
  const std::string folder_ = directory_.path();
};

TEST_F(LoadJson, ReadsAFile) {
  const std::string path = folder_ + "/a.json";
  std::ofstream(path) << R"({"a": 1})";
  EXPECT_EQ(load_json(path), Json({{"a", 1}}));
}

TEST_F(LoadJson, RefusesWhatIsNoBoundedFile) {  // B10
  const auto load = [](const std::string& path) { return error_of([&] { load_json(path); }); };
  EXPECT_EQ(load(folder_), folder_ + ": is a directory; a JSON file is needed");
  EXPECT_EQ(load("/dev/zero"), "/dev/zero: is not a regular file");
  EXPECT_EQ(load(folder_ + "/no"), folder_ + "/no: cannot be read: No such file or directory");
  const std::string pipe = folder_ + "/pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(load(pipe), pipe + ": is not a regular file");  // and does not wait for a writer
  const std::string large = folder_ + "/large";
  std::ofstream(large) << "";
  std::filesystem::resize_file(large, 100 << 20);  // sparse
  EXPECT_EQ(load(large), large + ": larger than 4 MiB (104857600 bytes)");
}

TEST(Canonical, IsOneTextPerValue) {
  const Json a = parse_json(R"({"b": [1.0, 2, 0.1], "a": "x\n"})", "a");
  const Json b = parse_json(R"({"a":"x\u000a","b":[1,2.0,1e-1]})", "b");
  EXPECT_EQ(canonical(a), R"({"a":"x\n","b":[1,2,0.1]})");
  EXPECT_EQ(canonical(a), canonical(b));
  EXPECT_EQ(json_hash(a), json_hash(b));
  EXPECT_NE(json_hash(a), json_hash(Json({{"a", "x"}})));
  EXPECT_EQ(json_hash(a).size(), 32u);
  EXPECT_EQ(canonical(parse_json("[{},[],null,true,-0.0,1e22]", "c")), "[{},[],null,true,0,1e+22]");
}

TEST(Reader, NeverCoercesAndNeverNarrows) {  // B01-B03
  const Json value = parse_json(R"({"text":"64","real":64.0,"part":1.9,"yes":true,
    "wide":4294967297,"minus":-1,"huge":18446744073709551616,"max":18446744073709551615})",
                                "s.json");
  Problems problems("s.json");
  Reader reader(value, "", problems);
  for (const std::string& key : reader.keys()) reader.integer(key, 1, 16777216);
  EXPECT_EQ(error_of([&] { problems.raise(); }),
            "s.json:/huge: must be an integer; allowed: 1..16777216; "
            "got: number 18446744073709551616 (not an integer)\n"
            "s.json:/max: out of range; allowed: 1..16777216; got: number 18446744073709551615\n"
            "s.json:/minus: out of range; allowed: 1..16777216; got: number -1\n"
            "s.json:/part: must be an integer; allowed: 1..16777216; "
            "got: number 1.9 (not an integer)\n"
            "s.json:/real: must be an integer; allowed: 1..16777216; "
            "got: number 64 (not an integer)\n"
            "s.json:/text: must be an integer; allowed: 1..16777216; got: string \"64\"\n"
            "s.json:/wide: out of range; allowed: 1..16777216; got: number 4294967297\n"
            "s.json:/yes: must be an integer; allowed: 1..16777216; got: true");
}

TEST(Reader, DoesNotTakeTheLargestUnsignedForMinusOne) {
  const Json value = parse_json(R"({"a":18446744073709551615})", "s.json");
  Problems problems("s.json");
  Reader(value, "", problems).integer("a", -5, 5);
  EXPECT_EQ(error_of([&] { problems.raise(); }),
            "s.json:/a: out of range; allowed: -5..5; got: number 18446744073709551615");
}

TEST(Reader, ReportsUnknownAndMissingKeys) {  // B05, B06
  const Json value = Json::object({{"heds", 4}, {"c/d", 1}});
  Problems problems("s.json");
  Reader reader(value, "/attn", problems);
  reader.integer("heads", 1, 8);
  EXPECT_EQ(reader.text("mode", "fast"), "fast");
  reader.finish();
  EXPECT_EQ(error_of([&] { problems.raise(); }),
            "s.json:/attn: missing key \"heads\"\n"
            "s.json:/attn/c~1d: unknown key; allowed: heads, mode\n"
            "s.json:/attn/heds: unknown key; did you mean 'heads'?; allowed: heads, mode");
}

TEST(Reader, ReportsAMissingObjectOnce) {
  const Json value = Json::object();
  Problems problems("s.json");
  Reader reader(value, "", problems);
  Reader inner = reader.object("block");
  inner.integer("stacks", 1, 2);
  inner.text("name");
  inner.choice("kind", {"a"});
  inner.object("deeper").array("list");
  inner.finish();
  EXPECT_EQ(error_of([&] { problems.raise(); }), "s.json: missing key \"block\"");
}

TEST(Reader, ReportsAWrongDocumentOnce) {
  for (const Json& value : {Json(), Json::array(), Json(3)}) {
    Problems problems("s.json");
    Reader reader(value, "", problems);
    reader.format("moebius.space/1");
    reader.integer("a", 1, 2);
    reader.finish();
    EXPECT_EQ(error_of([&] { problems.raise(); }),
              "s.json: must be an object; got: " + describe(value));
  }
}

TEST(Problems, ShowAtMostTwentyBoundedLines) {
  Problems problems("s.json");
  for (int i = 0; i < 50; ++i) problems.add("/a", std::string(1000, 'x'));
  const std::string text = error_of([&] { problems.raise(); });
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 19);
  EXPECT_EQ(text.find('\n'), 512u);
}

}  // namespace
}  // namespace moebius
