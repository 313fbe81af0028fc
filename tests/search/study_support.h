#pragma once
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "search/study/seeds.h"
#include "search_support.h"

namespace moebius::testing_support {

// Whether there is no trial now, but may be when others have ended.
inline bool waits(const Study::Asked& asked) { return !asked.trial && !asked.complete; }

class StudyTest : public ::testing::Test {
 protected:
  Study make(const StudyConfig& config) { return Study(config, types(), *db); }
  Study serve(const StudyConfig& config) {
    return Study(config, types(), *db, Json::object(), true);
  }
  static TrainingSeeds seeds(const Study& study) { return TrainingSeeds(study.row().settings); }
  // Asks and tells one after the other to the end.
  void finish(Study& study) {
    Study::Asked asked;
    for (asked = study.ask(); asked.trial; asked = study.ask())
      study.tell(*asked.trial, evaluator.outcome(study.candidate(*asked.trial)));
    EXPECT_TRUE(asked.complete);
  }
  std::vector<TableRow> finished_table(const StudyConfig& config) {
    Study study = make(config);
    finish(study);
    EXPECT_TRUE(study.complete());
    return table(study.history());
  }
  Spec block(std::int64_t draw) const {
    Rng rng(static_cast<std::uint64_t>(draw));
    Spec spec = space.resolve(space.sample(rng));
    spec.sublayers[0] = space.resolve(Point(space.slots().size(), 0)).sublayers[0];  // attention
    return spec;
  }

  Space space = small_space();
  std::unique_ptr<ResultsDb> db = open_db("memory:", OpenMode::Create);
  FakeEvaluator evaluator;
};

}  // namespace moebius::testing_support
