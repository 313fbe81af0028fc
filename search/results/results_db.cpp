#include "search/results/results_db.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "search/results/builtin_catalog.h"
#include "search/results/store.h"
#include "space/space.h"

namespace moebius {
namespace {

void only_finite(double& value) {
  if (!std::isfinite(value)) value = std::nan("");
}

}  // namespace

#define PLUGIN(name) DbPlugin dbs_##name();
#include "search/results/dbs.def"
#undef PLUGIN

const Registry<DbPlugin>& dbs() {
  static const Registry<DbPlugin> registry = [] {
    Registry<DbPlugin> result("database");
#define PLUGIN(name) result.add(#name, dbs_##name());
#include "search/results/dbs.def"
#undef PLUGIN
    return result;
  }();
  return registry;
}

std::unique_ptr<ResultsDb> open_db(const std::string& url, OpenMode mode) {
  const DbUrl parsed = parse_db_url(url);
  return dbs().get(parsed.plugin).open(parsed.place, mode);
}

std::string block_text(const Spec& spec) {
  const LayerTypes& types = builtin_catalog().types;
  const bool known =
      std::all_of(spec.sublayers.begin(), spec.sublayers.end(),
                  [&](const SubLayer& sublayer) { return types.find(sublayer.type) != nullptr; });
  return known ? notation(spec, types) : "";
}

std::string random_id() {
  std::array<unsigned char, 16> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw Error(Exit::Storage, fmt::format("no random numbers: {}", std::strerror(errno)));
  std::string text;
  for (const unsigned char byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string valid_text(const std::string& text) {
  return Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace))
      .get_ref<const std::string&>();
}

Outcome storable(Outcome outcome) {
  Measurement& m = outcome.measurement;
  if (outcome.ending == Ending::Done && !(std::abs(m.loss) < 1e30)) {
    outcome.message = "the final loss is not finite";
    outcome.ending = Ending::Diverged;
  }
  if (outcome.ending != Ending::Done) m.loss = std::nan("");
  for_each_field(m, [](const MeasurementField&, auto& value) {
    if constexpr (std::is_same_v<decltype(value), double&>) only_finite(value);
  });
  outcome.message = valid_text(outcome.message);
  for (CurvePoint& point : outcome.curve)
    for (double* value : {&point.train_loss, &point.valid_loss, &point.cpu_seconds})
      only_finite(*value);
  return outcome;
}

bool same_result(const Outcome& stored, const Outcome& given) {
  const double a = stored.measurement.loss, b = given.measurement.loss;
  return stored.ending == given.ending && (a == b || (std::isnan(a) && std::isnan(b))) &&
         stored.measurement.result_hash == given.measurement.result_hash;
}

Outcome lost_outcome() {
  Outcome outcome;
  outcome.ending = Ending::Failed;
  outcome.message = fmt::format("{} attempts ended with their process", kMaxLost);
  return outcome;
}

TrialState final_state(Ending ending) {
  MOEBIUS_CHECK(ending != Ending::Stopped, "[results_db] a stopped attempt is released");
  return parse_state(ending_text(ending));
}

void check_same_settings(const StudySettings& stored, const StudySettings& given) {
  const auto document = [](const StudySettings& settings) {
    return Json{{"space", settings.space},
                {"recipe", settings.recipe},
                {"options", settings.options},
                {"seed", settings.seed},
                {"lag", settings.lag}};
  };
  const std::vector<std::string> lines = diff(document(stored), document(given));
  if (lines.empty()) return;
  bad_input("--study", "was started with other settings: " + lines.front(),
            "the settings it was started with, or another name", given.name);
}

}  // namespace moebius
