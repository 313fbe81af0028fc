#include "search/exporters/exporter.h"

#include "search/results/statistics.h"
#include "search/results/version.h"
#include "search/study/stored.h"
#include "space/base/log.h"

namespace moebius {

#define PLUGIN(name) ExporterPlugin exporters_##name();
#include "search/exporters.def"
#undef PLUGIN

const Registry<ExporterPlugin>& exporters() {
  static const Registry<ExporterPlugin> registry = [] {
    Registry<ExporterPlugin> result("export format");
#define PLUGIN(name) result.add(#name, exporters_##name());
#include "search/exporters.def"
#undef PLUGIN
    return result;
  }();
  return registry;
}

namespace {

Json loss_over_seeds(const History& history, const Trial& trial) {
  const Summary loss = block_result(history.of_block(trial.spec_hash)).loss;
  return {{"mean", or_null(loss.mean)},
          {"sd", or_null(loss.sd)},
          {"seeds", loss.n},
          {"noise", or_null(rank_blocks(history, 1).noise.sd)}};
}

}  // namespace

ExportSubject export_subject(const StudyRow& study, const History& history, const Trial& trial) {
  if (trial.state != TrialState::Done)
    bad_input("TRIAL", fmt::format("trial {} has no result to export", trial.number), "done",
              state_text(trial.state));
  const Measurement& measured = trial.outcome->measurement;
  ExportSubject subject;
  subject.spec = trial.spec;
  subject.recipe = read_recipe(study.settings.recipe, "study " + study.settings.name);
  subject.name = fmt::format("{}-t{}", study.settings.name, trial.number);
  subject.provenance = {{"study", study.settings.name},
                        {"space", study.settings.space.value("name", "")},
                        {"number", trial.number},
                        {"role", role_text(trial.role)},
                        {"seed", trial.seed},
                        {"spec_hash", trial.spec_hash},
                        {"budget", study.settings.options.value("budget", "")},
                        {"rules", rules_of(study.settings)},
                        {"data", study.settings.provenance.value("data", "")},
                        {"data_hash", study.settings.options.value("data_hash", "")},
                        {"tokenizer", study.settings.provenance.value("tokenizer", "")},
                        {"vocab", study.settings.options.value("vocab", std::int64_t{0})},
                        {"precision", study.settings.options.value("precision", "")},
                        {"loss_over_seeds", loss_over_seeds(history, trial)}};
  subject.provenance.update(to_json(measured));
  return subject;
}

}  // namespace moebius
