#include "evaluator/evaluators/report.h"

namespace moebius {

double number_or(const Json& json, const char* key, double fallback) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number()) return fallback;
  double value = fallback;
  found->get_to(value);
  return value;
}
std::int64_t count_or(const Json& json, const char* key, std::int64_t fallback) {
  const double value = number_or(json, key, static_cast<double>(fallback));
  return value >= 0 && value < 9e15 ? static_cast<std::int64_t>(value) : fallback;
}

Report read_report(const std::string& line) {
  Report report;
  report.json = Json::parse(line, nullptr, false);
  const Json& json = report.json;
  if (json.is_discarded()) {
    // What Python's json writes for numbers that are not finite is not JSON.
    const bool not_finite =
        line.find("NaN") != std::string::npos || line.find("Infinity") != std::string::npos;
    report.kind = not_finite ? Report::Kind::NotFinite : Report::Kind::Bad;
    report.why = "not JSON";
    return report;
  }
  if (!json.is_object()) {
    report.why = "not an object";
    return report;
  }
  const auto final_key = json.find("final");
  const bool is_final = final_key != json.end() && *final_key == true;
  const bool is_point = json.contains("step") && json.contains("loss");
  if (is_final && json.contains("ending")) {
    report.kind = Report::Kind::Final;
  } else if (is_final || is_point) {
    report.kind = is_final ? Report::Kind::Final : Report::Kind::Point;
    if (!json.contains("loss"))
      report = {Report::Kind::Bad, "a final result without a loss", json};
    else if (json["loss"].is_null())
      report.kind = Report::Kind::NotFinite;
    else if (!json["loss"].is_number())
      report = {Report::Kind::Bad, "a loss that is no number", json};
  } else if (count_or(json, "steps", 0) > 0) {
    report.kind = Report::Kind::Steps;
  } else {
    report.why = "neither {\"steps\"}, nor {\"step\", \"loss\"}, nor {\"final\": true, \"loss\"}";
  }
  return report;
}

}  // namespace moebius
