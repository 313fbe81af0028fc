#include "search/exporters/exporter.h"

#include "search/results/statistics.h"
#include "search/results/version.h"
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
  const std::vector<BlockResult> blocks = by_block(history);
  std::int64_t degrees = 0;
  const double noise = seed_noise(blocks, degrees);
  for (const BlockResult& block : blocks)
    if (block.spec_hash == trial.spec_hash)
      return {{"mean", or_null(block.loss.mean)},
              {"sd", or_null(block.loss.sd)},
              {"seeds", block.loss.n},
              {"noise", or_null(noise)}};
  return Json();
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
                        {"trial", trial.number},
                        {"role", role_text(trial.role)},
                        {"seed", trial.seed},
                        {"spec_hash", trial.spec_hash},
                        {"budget", study.settings.options.value("budget", "")},
                        {"data_hash", study.settings.options.value("data_hash", "")},
                        {"loss", or_null(measured.loss)},
                        {"loss_over_seeds", loss_over_seeds(history, trial)},
                        {"causal", measured.causal},
                        {"steps", measured.steps},
                        {"tokens", measured.tokens},
                        {"step_seconds", or_null(measured.step_seconds)},
                        {"step_ratio", or_null(measured.step_ratio)},
                        {"parameters", measured.parameters},
                        {"active_parameters", measured.active_parameters},
                        {"result_hash", measured.result_hash}};
  return subject;
}

}  // namespace moebius
