#include <algorithm>
#include <cmath>
#include <set>

#include "search/commands/listing.h"
#include "search/commands/session.h"
#include "space/base/log.h"
#include "space/base/text.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  DataOptions data;
  ListOptions list;
  std::vector<std::string> trials;
  std::int64_t seeds = 3;
};

// One trial for each block to repeat: those named, or the baselines.
std::vector<const Trial*> subjects(const History& history, const std::vector<std::string>& named) {
  std::vector<const Trial*> result;
  std::set<std::string> seen;
  for (const std::string& number : named)
    if (const Trial& trial = pick_trial(history, number); seen.insert(trial.spec_hash).second)
      result.push_back(&trial);
  if (!named.empty()) return result;
  for (const Trial* trial : history.of_role(TrialRole::Baseline))
    if (seen.insert(trial->spec_hash).second) result.push_back(trial);
  if (result.empty()) bad_input("TRIAL", "the study has no baseline; name the trials to repeat");
  return result;
}

// Further seeds that a block has, those that an interrupted `noise` left open among them.
std::int64_t further_seeds(const History& history, const Trial& subject) {
  const std::vector<const Trial*> same = history.of_block(subject.spec_hash);
  return std::count_if(same.begin(), same.end(), [](const Trial* trial) {
    return trial->role == TrialRole::Noise || trial->role == TrialRole::Rerun;
  });
}

// Says what is missing to `seeds` and adds it.
void add_missing(Study& study, const History& history, const Trial& subject, std::int64_t seeds) {
  const std::int64_t known = further_seeds(history, subject),
                     missing = std::max<std::int64_t>(seeds - known, 0);
  info("{} (trial {}): {} of {} further seeds are there, {} to add",
       subject.label.empty() ? block_text(subject.spec) : printable(subject.label), subject.number,
       known, seeds, missing);
  if (missing > 0) study.add({subject.spec}, TrialRole::Noise, subject.number, missing);
}

Table noise_table(const History& history, const std::vector<std::string>& hashes) {
  Table table;
  table.columns = {{"block"},
                   {"label"},
                   {"seeds"},
                   {"loss", Style::Loss},
                   {"sd", Style::Loss},
                   {"lowest", Style::Loss},
                   {"highest", Style::Loss}};
  std::vector<BlockResult> blocks;
  for (const std::string& hash : hashes)
    if (BlockResult block = block_result(history.of_block(hash)); block.loss.n > 0)
      blocks.push_back(std::move(block));
  std::sort(blocks.begin(), blocks.end(), is_better);
  for (const BlockResult& block : blocks)
    table.rows.push_back({block.block, block.label, block.loss.n, or_null(block.loss.mean),
                          or_null(block.loss.sd), block.lowest, block.highest});
  return table;
}

int run(const Options& options) {
  const std::unique_ptr<Session> session = Session::reopen(options.db, options.data, {}, false);
  std::vector<std::string> hashes;
  {
    const History history = session->study().history();
    for (const Trial* subject : subjects(history, options.trials)) {
      hashes.push_back(subject->spec_hash);
      add_missing(session->study(), history, *subject, options.seeds);
    }
  }
  if (const int code = session->run(); code != 0) return code;
  const History history = session->study().history();
  print_table(noise_table(history, hashes), options.list);
  if (options.list.format == "table")
    print_out(leaderboard_notes(leaderboard(history, 1),
                                study_words(session->study().row(), session->db())));
  return 0;
}

}  // namespace

Command commands_noise() {
  return {"trains blocks again with other seeds: how large is the noise",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius noise --study first --seeds 3 --workers 2");
            args.example("moebius noise 12 17 --study first");
            args.positionals("TRIAL", options->trials, false,
                             "trials to repeat; the baselines when left out");
            describe(args, options->db);
            args.option(
                "--seeds N", options->seeds, 1, 100,
                "further seeds that each block is to have: those it has count, so that the same "
                "command goes on after a stop");
            describe_parallel(args, options->data);
            describe_format(args, options->list);
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
