#include "space/recipe.h"

#include "space/base/check.h"

namespace moebius {
namespace {

constexpr double kLeastRate = 1e-9, kMostRate = 100;

void read_rates(Reader& reader, std::map<std::string, double>& lr) {
  if (!reader.has("lr")) return reader.note("lr");
  const Reader at = reader.at("lr");
  if (!at.value().is_object()) {
    const double rate = at.as_number(kLeastRate, kMostRate);
    for (auto& [family, value] : lr) value = rate;
    return;
  }
  Reader families = at;
  for (auto& [family, value] : lr) value = families.number(family, kLeastRate, kMostRate);
  families.finish();
}

std::string name(Reader& reader, const std::string& key, const std::string& fallback) {
  std::string result = reader.text(key, fallback);
  if (result.empty() && reader.has(key)) reader.problem_at(key, "must not be empty");
  return result;
}

}  // namespace

Json to_json(const Recipe& recipe) {
  return {{"batch", recipe.batch},
          {"seq", recipe.seq},
          {"micro_batch", recipe.micro_batch},
          {"optimizer", recipe.optimizer},
          {"lr", recipe.lr},
          {"lr_width", recipe.lr_width},
          {"schedule", recipe.schedule},
          {"warmup", recipe.warmup},
          {"decay", recipe.decay},
          {"weight_decay", recipe.weight_decay},
          {"clip", recipe.clip},
          {"aux", recipe.aux},
          {"z", recipe.z},
          {"eval_tokens", recipe.eval_tokens},
          {"precision", recipe.precision}};
}

Recipe read_recipe(Reader reader) {
  Recipe r;
  r.batch = reader.integer("batch", 1, 1 << 16, r.batch);
  r.seq = reader.integer("seq", 1, 1 << 16, r.seq);
  r.micro_batch = reader.integer("micro_batch", 1, 1 << 16, r.batch);
  r.optimizer = name(reader, "optimizer", r.optimizer);
  read_rates(reader, r.lr);
  r.lr_width = reader.number("lr_width", 1, 1 << 24, r.lr_width);
  r.schedule = name(reader, "schedule", r.schedule);
  r.warmup = reader.number("warmup", 0, 1, r.warmup);
  r.decay = reader.number("decay", 0, 1, r.decay);
  r.weight_decay = reader.number("weight_decay", 0, 10, r.weight_decay);
  r.clip = reader.number("clip", 0, 1e6, r.clip);
  r.aux = reader.number("aux", 0, 100, r.aux);
  r.z = reader.number("z", 0, 100, r.z);
  r.eval_tokens = reader.integer("eval_tokens", 1, std::int64_t{1} << 40, r.eval_tokens);
  r.precision = reader.choice("precision", {"auto", "fp32", "bf16"}, r.precision);
  reader.finish();

  if (r.batch % r.micro_batch != 0)
    reader.problem_at("micro_batch", "must divide batch", fmt::format("divisors of {}", r.batch),
                      std::to_string(r.micro_batch));
  if (r.warmup + r.decay > 1)
    reader.problem_at("decay", "warmup and decay are more than the whole budget",
                      fmt::format("0..{:.6g}", 1 - r.warmup), fmt::format("{:.6g}", r.decay));
  return r;
}

}  // namespace moebius
