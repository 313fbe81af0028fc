#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "model/learner.h"
#include "search/commands/options.h"

namespace moebius {

// A trained model read back from its weights: what eval and sample work on.
struct CheckpointModel {
  std::string path;  // of the weights
  Spec spec;
  Recipe recipe;
  std::int64_t vocab = 0;
  std::string tokenizer;  // as Corpus::open takes it
  std::unique_ptr<Learner> learner;
};

// `what`: a weights file, the folder that train wrote, or the number of a trial whose weights are
// kept (the best five of a study). `alone` asks for batches of one sequence where the block allows
// it. Error(BadInput) naming what there is, Error(Storage) for a damaged file.
CheckpointModel load_model(const std::string& what, DbOptions db, const std::string& backend,
                           int threads, bool alone);

}  // namespace moebius
