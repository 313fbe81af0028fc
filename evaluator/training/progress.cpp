#include "evaluator/training/progress.h"

#include <cmath>
#include <filesystem>

#include "model/checkpoint.h"
#include "space/base/log.h"

namespace moebius {
namespace {

constexpr double kHuge = 1e300;
constexpr std::int64_t kMost = std::int64_t{1} << 53;

// Numbers that are not known (NaN) are left out.
void put(Json& json, const char* key, double value) {
  if (!std::isnan(value)) json[key] = value;
}
double get(Reader& reader, const char* key) {
  return reader.number(key, -kHuge, kHuge, std::numeric_limits<double>::quiet_NaN());
}

}  // namespace

std::string take_loss(Progress& progress, double loss, double gradient_norm) {
  constexpr double kSmoothing = 0.95;
  if (!std::isfinite(loss) || !std::isfinite(gradient_norm))
    return fmt::format("loss {} with gradient norm {} at step {} of {}", loss, gradient_norm,
                       progress.step, progress.steps);
  if (progress.step == 1) progress.first_loss = progress.smoothed_loss = loss;
  progress.smoothed_loss = kSmoothing * progress.smoothed_loss + (1 - kSmoothing) * loss;
  if (progress.step * 10 < progress.steps || progress.smoothed_loss <= 2 * progress.first_loss)
    return "";
  return fmt::format("smoothed loss {:.3f} at step {} of {}, above twice the first loss {:.3f}",
                     progress.smoothed_loss, progress.step, progress.steps, progress.first_loss);
}

Json to_json(const Progress& progress) {
  Json json = {{"steps", progress.steps},
               {"step", progress.step},
               {"loss_sum", progress.loss_sum},
               {"loss_count", progress.loss_count},
               {"first_loss", progress.first_loss},
               {"smoothed_loss", progress.smoothed_loss},
               {"kept", progress.kept},
               {"dropped", progress.dropped},
               {"cpu_seconds", progress.cpu_seconds},
               {"wall_seconds", progress.wall_seconds},
               {"curve", Json::array()}};
  put(json, "step_ratio", progress.step_ratio);
  for (const CurvePoint& point : progress.curve) {
    Json entry = {{"step", point.step}, {"cpu_seconds", point.cpu_seconds}};
    put(entry, "train_loss", point.train_loss);
    put(entry, "valid_loss", point.valid_loss);
    json["curve"].push_back(entry);
  }
  return json;
}

Progress read_progress(Reader reader) {
  Progress progress;
  progress.steps = reader.integer("steps", 1, kMost);
  progress.step = reader.integer("step", 0, progress.steps);
  progress.loss_count = reader.integer("loss_count", 0, kMost);
  progress.step_ratio = get(reader, "step_ratio");
  for (const auto& [key, value] : {std::pair{"loss_sum", &progress.loss_sum},
                                   {"first_loss", &progress.first_loss},
                                   {"smoothed_loss", &progress.smoothed_loss},
                                   {"kept", &progress.kept},
                                   {"dropped", &progress.dropped},
                                   {"cpu_seconds", &progress.cpu_seconds},
                                   {"wall_seconds", &progress.wall_seconds}})
    *value = reader.number(key, -kHuge, kHuge);
  for (Reader entry : reader.array("curve")) {
    CurvePoint point;
    point.step = entry.integer("step", 1, progress.steps);
    point.train_loss = get(entry, "train_loss");
    point.valid_loss = get(entry, "valid_loss");
    point.cpu_seconds = entry.number("cpu_seconds", 0, kHuge);
    entry.finish();
    progress.curve.push_back(point);
  }
  reader.finish();
  return progress;
}

std::optional<Progress> checkpoint_progress(const std::string& path, const Json& identity) {
  std::error_code error;
  if (path.empty() || !std::filesystem::exists(path, error)) return {};
  try {
    const SafetensorsFile file(path);
    const auto& metadata = file.metadata();
    if (!metadata.contains("training") || !metadata.contains("identity"))
      throw Error(Exit::Storage, path + ": not the checkpoint of a training run");
    if (parse_json(metadata.at("identity"), path) != identity)
      throw Error(Exit::Storage, path + ": the checkpoint of another run");
    file.verify();
    const Json training = parse_json(metadata.at("training"), path);
    Problems problems(path);
    const Progress progress = read_progress(Reader(training, "/training", problems));
    problems.raise();
    return progress;
  } catch (const Error& trouble) {
    warn("{}; starting again from step 0", trouble.what());
    return {};
  }
}

Json checkpoint_metadata(const Progress& progress, const Json& identity) {
  return {{"training", to_json(progress)}, {"identity", identity}};
}

}  // namespace moebius
