#include "search/results/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "search/study/weight_keeper.h"
#include "search_support.h"

// URLs of databases, and the files of their studies.
namespace moebius {
namespace {

using namespace testing_support;
namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

TEST(DbUrl, IsAPathOrNamesItsPlugIn) {
  const auto parsed = [](const std::string& url) {
    const DbUrl got = parse_db_url(url);
    return got.plugin + " " + got.place + (got.is_file ? " file" : "");
  };
  EXPECT_EQ(parsed("r.db"), "sqlite r.db file");
  EXPECT_EQ(parsed("a:b/r.db"), "sqlite a:b/r.db file");
  EXPECT_EQ(parsed("sqlite:r.db"), "sqlite r.db file");
  EXPECT_EQ(parsed("sqlite:///r.db"), "sqlite r.db file");
  EXPECT_EQ(parsed("sqlite:////tmp/r.db"), "sqlite /tmp/r.db file");
  EXPECT_EQ(parsed("memory:"), "memory ");
}

TEST(DbUrl, ThatCanBeNoDatabaseIsRefused) {
  for (const std::string url : {"", "oracle://r.db", "sqlite://r.db", "r.db/", ":memory:"}) {
    std::string line;
    EXPECT_EQ(error_code([&] { parse_db_url(url); }, &line), Exit::BadInput) << url;
    EXPECT_THAT(line, StartsWith("--db: ")) << url;
  }
}

TEST(DbUrl, ExistsWhereItsFileDoes) {
  const Folder folder;
  const std::string path = folder.write("r.db", "SQLite format 3");
  EXPECT_TRUE(db_exists(path));
  EXPECT_FALSE(db_exists(folder.write("empty.db", "")));
  EXPECT_FALSE(db_exists(folder.path()));
  EXPECT_TRUE(db_exists("sqlite:///" + path));
  EXPECT_TRUE(db_exists("memory:"));
  EXPECT_FALSE(db_exists("sqlite:///" + folder.file("no.db")));
}

class StudyFilesTest : public ::testing::Test {
 protected:
  StudyFiles files(const std::string& database, bool schema_1 = false) const {
    return {folder.file(database), row, {schema_1, 0}};
  }
  // Of a database whose file had the inode when the study was made.
  StudyFiles files_since(std::int64_t inode, const std::string& database) const {
    return {folder.file(database), row, {false, inode}};
  }
  // Weights of trial 1, as its row has them.
  Artifact put(const StudyFiles& where, const std::string& text = "weights") const {
    where.create();
    const std::string path = where.weights(1);
    std::ofstream(path) << text;
    return {1, "weights", where.stored(path), file_hash(path)};
  }
  static StudyRow of(const std::string& id) {
    StudyRow result;
    result.files = id;
    result.settings.name = "s";
    return result;
  }

  Folder folder;
  const StudyRow row = of("0123456789abcdef0123456789abcdef");
};

TEST_F(StudyFilesTest, LieBesideTheDatabaseUnderItsNameAndTheStudysId) {
  folder.write("run.1", "");
  fs::create_symlink(folder.file("run.1"), folder.file("link.db"));
  const std::string expected = fs::canonical(folder.path()) / "run.1.files" / row.files;
  EXPECT_EQ(files("run.1").folder(), expected);
  EXPECT_EQ(files("link.db").folder(), expected);
  EXPECT_NE(files("run.2").folder(), expected);
  EXPECT_EQ(files("run.1", true).folder(), fs::canonical(folder.path()) / "run.files" / "s");
  EXPECT_TRUE(StudyFiles().none());
}

TEST_F(StudyFilesTest, AreFoundAfterFolderOrDatabaseMoved) {
  folder.write("a/r.db", "");
  const std::int64_t inode = file_inode(folder.file("a/r.db"));
  const Artifact kept = put(files("a/r.db"));
  EXPECT_EQ(kept.path, "t00001.safetensors");
  fs::rename(folder.file("a"), folder.file("b"));
  EXPECT_EQ(files("b/r.db").find(kept), files("b/r.db").weights(1));
  fs::rename(folder.file("b/r.db"), folder.file("b/new.db"));
  EXPECT_THAT(files("b/new.db").find(kept), HasSubstr("/b/r.db.files/"));
  EXPECT_THAT(files_since(inode, "b/new.db").folder(), HasSubstr("/b/r.db.files/"));
}

TEST_F(StudyFilesTest, OfARenamedDatabaseAreNotThoseOfItsCopyToo) {
  folder.write("r.db", "");
  const std::int64_t inode = file_inode(folder.file("r.db"));
  const Artifact kept = put(files("r.db"));
  fs::copy_file(folder.file("r.db"), folder.file("copy.db"));
  fs::rename(folder.file("r.db"), folder.file("new.db"));
  EXPECT_THAT(files_since(inode, "new.db").folder(), HasSubstr("/r.db.files/"));
  EXPECT_THAT(files_since(inode, "copy.db").folder(), HasSubstr("/copy.db.files/"));
  EXPECT_EQ(files_since(inode, "copy.db").find(kept), files_since(inode, "new.db").weights(1));
}

TEST_F(StudyFilesTest, OfACopyAreReadFromTheOriginalAndWrittenElsewhere) {
  folder.write("r.db", "");
  folder.write("copy.db", "");
  const Artifact kept = put(files("r.db"));
  EXPECT_THAT(files("copy.db").folder(), HasSubstr("/copy.db.files/"));
  EXPECT_EQ(files("copy.db").find(kept), files("r.db").weights(1));
}

TEST_F(StudyFilesTest, OfSchema1AreFoundByTheirOldPathAndBesideTheDatabase) {
  folder.write("r.db", "");
  Artifact kept = put(files("r.db", true));
  kept.path = "/long/gone/r.files/s/t00001.safetensors";
  EXPECT_EQ(files("r.db", true).find(kept), files("r.db", true).weights(1));
  const std::string elsewhere = folder.write("elsewhere/t00001.safetensors", "weights");
  fs::remove(files("r.db", true).weights(1));
  kept.path = elsewhere;
  EXPECT_EQ(files("r.db", true).find(kept), elsewhere);
}

TEST_F(StudyFilesTest, AnIdThatLeavesTheFolderIsRefused) {
  const StudyRow hostile = of("../../../etc");
  EXPECT_EQ(error_code([&] { StudyFiles(folder.file("r.db"), hostile, {}); }), Exit::Storage);
}

// A study of 12 trials whose processes died wherever `dies` says.
class WeightKeeperTest : public ::testing::Test {
 protected:
  WeightKeeperTest() : study(study_row()) { folder.write("r.db", ""); }

  StudyRow study_row() {
    StudySettings settings;
    settings.name = "s";
    return db->open_study(settings, false);
  }
  WeightKeeper keeper() { return {*db, study, StudyFiles(folder.file("r.db"), study, {})}; }
  // Proposes and claims the next trial.
  Trial next() {
    Trial trial;
    trial.number = static_cast<std::int64_t>(db->history(study.id).trials().size());
    trial.spec = space.resolve(Point(space.slots().size(), 0));
    trial.spec_hash = spec_hash(trial.spec);
    db->propose(study.id, {trial}, 0);
    trial.attempt = db->claim({study.id, trial.number}, "a:1");
    return trial;
  }
  void finish(Trial& trial, double loss) {
    Outcome outcome;
    outcome.ending = Ending::Done;
    outcome.measurement.loss = loss;
    db->finish({study.id, trial.number}, trial.attempt, outcome);
    trial.outcome = outcome;
    trial.state = TrialState::Done;
  }
  void write(const std::string& path) { std::ofstream(path) << path; }
  std::vector<std::string> names() {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator(keeper().files().folder()))
      result.push_back(entry.path().filename());
    std::sort(result.begin(), result.end());
    return result;
  }
  std::vector<std::string> rows() {
    std::vector<std::string> result;
    for (const Artifact& artifact : db->artifacts(study.id)) result.push_back(artifact.path);
    return result;
  }

  Folder folder;
  const Space space = small_space();
  std::unique_ptr<ResultsDb> db = open_db("memory:", OpenMode::Create);
  const StudyRow study;
};

TEST_F(WeightKeeperTest, WantsWhatWouldBeAmongTheBestFive) {
  WeightKeeper weights = keeper();
  weights.recover(db->history(study.id));
  for (int i = 0; i < 8; ++i) {
    Trial trial = next();
    const double loss = i < 5 ? 3.0 - i : 10.0;  // trial 4 is the best one
    EXPECT_EQ(weights.wants(trial.number, loss), i < 5) << i;
    finish(trial, loss);
    weights.ended(trial);
  }
  EXPECT_TRUE(weights.wants(8, 2.9));
  EXPECT_FALSE(weights.wants(8, 3.0));  // a tie goes to the lower number
  EXPECT_FALSE(weights.wants(8, std::nan("")));
}

TEST_F(WeightKeeperTest, FilesAndRowsAreTheSameAfterADeathAnywhere) {
  // What the fifth trial's process did last.
  enum { Before, Saved, Finished, Gone, Nothing };
  for (const int death : {Before, Saved, Finished, Gone, Nothing}) {
    db = open_db("memory:", OpenMode::Create);
    study_row();
    fs::remove_all(keeper().files().folder());
    WeightKeeper weights = keeper();
    weights.recover(db->history(study.id));
    for (int i = 0; i < 6; ++i) {
      Trial trial = next();
      write(weights.files().checkpoint(i));
      if (i == 5 && death == Before) write(weights.files().weights(i) + ".tmp.1");
      if (i == 5 && death == Before) break;
      write(weights.files().weights(i));
      if (i == 5 && death == Saved) break;
      finish(trial, 6.0 - i);
      if (i == 5 && death == Finished) break;
      weights.ended(trial);
    }
    if (death == Gone) write(weights.files().weights(0));  // its row is gone, its file is not
    keeper().recover(db->history(study.id));
    std::vector<std::string> expected, resumable;
    for (int i = death >= Finished ? 1 : 0; i < (death >= Finished ? 6 : 5); ++i)
      expected.push_back(fmt::format("t{:05}.safetensors", i));
    EXPECT_EQ(rows(), expected) << death;
    if (death < Finished) expected.emplace_back("t00005.resume");
    EXPECT_EQ(names(), expected) << death;
  }
}

TEST_F(WeightKeeperTest, LeavesOtherFilesAlone) {
  WeightKeeper weights = keeper();
  weights.recover(db->history(study.id));
  fs::create_directories(weights.files().folder() + "/trial-0-a1");
  for (const char* name : {"trial-0-a1/spec.json", "notes.txt", "t.safetensors", "t7.pt"})
    write(weights.files().folder() + "/" + name);
  keeper().recover(db->history(study.id));
  EXPECT_THAT(names(), ElementsAre("notes.txt", "t.safetensors", "t7.pt", "trial-0-a1"));
}

TEST_F(WeightKeeperTest, ARowWhoseFileIsGoneGoes) {
  WeightKeeper weights = keeper();
  weights.recover(db->history(study.id));
  Trial trial = next();
  write(weights.files().weights(0));
  finish(trial, 1);
  weights.ended(trial);
  EXPECT_THAT(rows(), ElementsAre("t00000.safetensors"));
  fs::remove(weights.files().weights(0));
  keeper().recover(db->history(study.id));
  EXPECT_THAT(rows(), IsEmpty());
}

}  // namespace
}  // namespace moebius
