#include "search/results/dbs/rows.h"

#include <SQLiteCpp/Transaction.h>

#include "search/results/dbs/fields.h"
#include "space/base/text.h"

namespace moebius::sqlite {
namespace {

[[noreturn]] void damaged(const std::string& what) {
  throw Error(Exit::Storage, "the database holds " + what + "; run moebius check");
}

// The block with 2.0 for the number 2, so that a field keeps its kind.
Json exact_json(const Spec& spec) {
  Json json = to_json(spec);
  for (std::size_t i = 0; i < spec.sublayers.size(); ++i)
    for (const auto& [name, value] : spec.sublayers[i].fields)
      if (const auto* real = std::get_if<double>(&value)) json["sublayers"][i][name] = *real;
  return json;
}

// Specs were checked when they were stored; today's layer types need not know them any more.
Value stored_value(const Json& json) {
  if (const auto* integer = json.get_ptr<const Json::number_integer_t*>()) return *integer;
  if (const auto* real = json.get_ptr<const Json::number_float_t*>()) return *real;
  if (const auto* words = json.get_ptr<const Json::string_t*>()) return *words;
  damaged("a block with a field of unknown kind");
}

std::int64_t stored_integer(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || !found->is_number_integer())
    damaged(fmt::format("a block without {}", key));
  return *found->get_ptr<const Json::number_integer_t*>();
}

Point stored_point(const SQLite::Column& column) {
  Point point;
  if (column.isNull()) return point;
  for (const Json& slot : stored_json(column.getString())) {
    const auto* index = slot.get_ptr<const Json::number_integer_t*>();
    if (index == nullptr) damaged("a point that is no list of choices");
    point.push_back(static_cast<std::int32_t>(*index));
  }
  return point;
}

double real(const SQLite::Column& column) {
  return column.isNull() ? std::nan("") : column.getDouble();
}

struct ReadColumn {
  Bound& row;
  int index;
  void operator()(const MeasurementField&, double& value) { value = real(row.getColumn(index++)); }
  void operator()(const MeasurementField&, std::int64_t& value) {
    value = row.getColumn(index++).getInt64();
  }
  void operator()(const MeasurementField&, std::string& value) {
    value = row.getColumn(index++).getString();
  }
};

Ending parse_ending(const std::string& text) {
  for (const Ending ending : {Ending::Done, Ending::Pruned, Ending::Diverged, Ending::Infeasible,
                              Ending::OutOfMemory, Ending::Failed})
    if (ending_text(ending) == text) return ending;
  damaged("an unknown ending '" + text + "'");
}

std::optional<Recipe> stored_recipe(const SQLite::Column& column) {
  if (column.isNull()) return {};
  const Json json = stored_json(column.getString());
  Problems problems("the recipe of a trial");
  const Recipe recipe = read_recipe(Reader(json, "", problems));
  problems.raise();
  return recipe;
}

Operator stored_operator(const SQLite::Column& column) {
  Operator op = Operator::None;
  if (!column.isNull() && !parse_operator(column.getString(), op))
    damaged("an unknown operator '" + printable(column.getString()) + "'");
  return op;
}

constexpr const char* kTrialColumns =
    "t.number, t.role, t.label, t.state, t.attempt, t.point, t.spec, t.spec_hash, t.parent,"
    " t.operator, t.seed, t.budget, t.recipe, t.owner, m.ending, m.message";
constexpr int kFirstMeasured = 16;

Trial trial_of(Bound& row) {
  Trial trial;
  trial.number = row.getColumn(0).getInt64();
  trial.role = parse_role(row.getColumn(1).getString());
  trial.label = row.getColumn(2).getString();
  trial.state = parse_state(row.getColumn(3).getString());
  trial.attempt = row.getColumn(4).getInt64();
  trial.point = stored_point(row.getColumn(5));
  trial.spec = stored_spec(stored_json(row.getColumn(6).getString()));
  trial.spec_hash = row.getColumn(7).getString();
  trial.parent = row.getColumn(8).isNull() ? -1 : row.getColumn(8).getInt64();
  trial.op = stored_operator(row.getColumn(9));
  trial.seed = static_cast<std::uint64_t>(row.getColumn(10).getInt64());
  if (!row.getColumn(11).isNull()) trial.budget = parse_budget(row.getColumn(11).getString());
  trial.recipe = stored_recipe(row.getColumn(12));
  trial.owner = row.getColumn(13).getString();
  if (row.getColumn(14).isNull()) return trial;
  trial.outcome.emplace();
  trial.outcome->ending = parse_ending(row.getColumn(14).getString());
  trial.outcome->message = row.getColumn(15).getString();
  for_each_field(trial.outcome->measurement, ReadColumn{row, kFirstMeasured});
  return trial;
}

void insert_sublayers(Connection& database, const TrialKey& trial, const Spec& spec) {
  Bound insert(database,
               "INSERT INTO sublayer (study, number, position, field, value)"
               " VALUES (?, ?, ?, ?, ?)");
  const auto add = [&](std::size_t position, const std::string& field, const auto& value) {
    insert.push(trial.study);
    insert.push(trial.number);
    insert.push(std::to_string(position));
    insert.push(field);
    insert.push(value);
    insert.exec();
    insert.reset();
  };
  for (std::size_t i = 0; i < spec.sublayers.size(); ++i) {
    add(i, "type", spec.sublayers[i].type);
    for (const auto& [name, value] : spec.sublayers[i].fields)
      std::visit([&, &field = name](const auto& v) { add(i, field, v); }, value);
  }
}

}  // namespace

std::string valid_dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Json stored_json(const std::string& text) {
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded()) damaged("text that is no JSON");
  return json;
}

Spec stored_spec(const Json& json) {
  Spec spec;
  spec.d_model = stored_integer(json, "d_model");
  spec.stacks = stored_integer(json, "stacks");
  const auto sublayers = json.find("sublayers");
  if (sublayers == json.end() || !sublayers->is_array()) damaged("a block without sublayers");
  for (const Json& entry : *sublayers) {
    SubLayer& sublayer = spec.sublayers.emplace_back();
    for (const auto& [key, value] : entry.items())
      if (key == "type")
        sublayer.type = value.is_string() ? value.get_ref<const std::string&>() : "";
      else
        sublayer.fields.emplace(key, stored_value(value));
  }
  return spec;
}

bool insert_trial(Connection& database, std::int64_t study, const Trial& trial) {
  Bound known(database, "SELECT spec_hash, role FROM trial WHERE study = ? AND number = ?", study,
              trial.number);
  if (known.executeStep()) {
    if (known.getColumn(0).getString() != trial.spec_hash ||
        known.getColumn(1).getString() != role_text(trial.role))
      throw Error(Exit::Storage, fmt::format("trial {} is another block already", trial.number));
    return false;
  }
  Bound last(database, "SELECT coalesce(max(number), -1) FROM trial WHERE study = ?", study);
  last.executeStep();
  if (trial.number != last.getColumn(0).getInt64() + 1)
    throw Error(Exit::Storage, fmt::format("trial {} does not follow trial {}", trial.number,
                                           last.getColumn(0).getInt64()));
  Bound insert(
      database,
      "INSERT INTO trial (study, number, role, label, block, d_model, stacks, spec, spec_hash,"
      " seed, point, parent, operator, budget, recipe)"
      " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
      study, trial.number, role_text(trial.role), trial.label, block_text(trial.spec),
      trial.spec.d_model, trial.spec.stacks, exact_json(trial.spec), trial.spec_hash, trial.seed);
  trial.point.empty() ? insert.push_null() : insert.push(Json(trial.point));
  trial.parent < 0 ? insert.push_null() : insert.push(trial.parent);
  trial.op == Operator::None ? insert.push_null() : insert.push(operator_text(trial.op));
  trial.budget ? insert.push(to_string(*trial.budget)) : insert.push_null();
  trial.recipe ? insert.push(to_json(*trial.recipe)) : insert.push_null();
  insert.exec();
  if (trial.state == TrialState::Running)
    Bound(database,
          fmt::format("UPDATE trial SET state = 'running', attempt = ?, owner = ?, started = {}"
                      " WHERE study = ? AND number = ?",
                      kNow),
          trial.attempt, trial.owner, study, trial.number)
        .exec();
  insert_sublayers(database, {study, trial.number}, trial.spec);
  show_fields(database, trial.spec);
  return true;
}

void insert_measurement(Connection& database, const TrialKey& trial, std::int64_t attempt,
                        const Outcome& outcome) {
  std::string columns = "study, number, attempt, ending, message", marks = "?, ?, ?, ?, ?";
  for_each_field(outcome.measurement, [&](const MeasurementField& field, const auto&) {
    columns += std::string(", ") + field.name;
    marks += ", ?";
  });
  Bound insert(database, fmt::format("INSERT INTO measurement ({}) VALUES ({})", columns, marks),
               trial.study, trial.number, attempt, ending_text(outcome.ending), outcome.message);
  for_each_field(outcome.measurement,
                 [&](const MeasurementField&, const auto& value) { insert.push(value); });
  insert.exec();
  put_curve(database, trial, attempt, outcome.curve);
}

void put_curve(Connection& database, const TrialKey& trial, std::int64_t attempt,
               const std::vector<CurvePoint>& points) {
  Bound(database, "DELETE FROM curve WHERE study = ? AND number = ? AND attempt = ?", trial.study,
        trial.number, attempt)
      .exec();
  Bound insert(database,
               "INSERT INTO curve (study, number, attempt, step, train_loss, valid_loss,"
               " cpu_seconds) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING");
  for (const CurvePoint& point : points) {
    for (const std::int64_t key : {trial.study, trial.number, attempt, point.step})
      insert.push(key);
    for (const double value : {point.train_loss, point.valid_loss, point.cpu_seconds})
      insert.push(value);
    insert.exec();
    insert.reset();
  }
}

StudyRow study_row(Bound& row) {
  StudyRow study;
  study.id = row.getColumn(0).getInt64();
  study.settings.name = row.getColumn(1).getString();
  study.files = row.getColumn(2).getString();
  study.settings.space = stored_json(row.getColumn(3).getString());
  study.settings.recipe = stored_json(row.getColumn(4).getString());
  study.settings.options = stored_json(row.getColumn(5).getString());
  study.settings.seed = static_cast<std::uint64_t>(row.getColumn(6).getInt64());
  study.settings.lag = row.getColumn(7).getInt64();
  study.settings.provenance = stored_json(row.getColumn(8).getString());
  study.redrawn = row.getColumn(9).getInt64();
  study.created = row.getColumn(10).getString();
  return study;
}

std::optional<Trial> read_trial(Connection& database, const TrialKey& key) {
  static const std::string sql = [] {
    std::string columns = kTrialColumns;
    for_each_field(Measurement(), [&](const MeasurementField& field, const auto&) {
      columns += std::string(", m.") + field.name;
    });
    return "SELECT " + columns +
           " FROM trial t LEFT JOIN measurement m"
           " ON m.study = t.study AND m.number = t.number AND m.attempt = t.attempt"
           " WHERE t.study = ? AND t.number = ?";
  }();
  Bound row(database, sql, key.study, key.number);
  return row.executeStep() ? std::optional(trial_of(row)) : std::nullopt;
}

std::vector<CurvePoint> read_curve(Connection& database, const TrialKey& key) {
  std::vector<CurvePoint> curve;
  Bound points(database,
               "SELECT c.step, c.train_loss, c.valid_loss, c.cpu_seconds FROM trial t JOIN curve c"
               " ON c.study = t.study AND c.number = t.number AND c.attempt = t.attempt"
               " WHERE t.study = ? AND t.number = ? ORDER BY c.step",
               key.study, key.number);
  while (points.executeStep())
    curve.push_back({points.getColumn(0).getInt64(), real(points.getColumn(1)),
                     real(points.getColumn(2)), real(points.getColumn(3))});
  return curve;
}

StudyCounts read_counts(Connection& database, std::int64_t study) {
  const SQLite::Transaction snapshot(database);
  StudyCounts counts;
  // A third of the time of one GROUP BY: each is a count over one range of the index.
  for (const TrialRole role : trial_roles())
    for (const TrialState state : trial_states()) {
      Bound row(database,
                "SELECT count(*) FROM trial INDEXED BY trial_by_state"
                " WHERE study = ? AND role = ? AND state = ?",
                study, role_text(role), state_text(state));
      row.executeStep();
      if (const std::int64_t count = row.getColumn(0).getInt64(); count > 0)
        counts.trials[{role, state}] = count;
    }
  Bound open(database,
             "SELECT number FROM trial INDEXED BY open_trial"
             " WHERE study = ? AND state IN ('waiting', 'running')",
             study);
  while (open.executeStep()) counts.open.insert(open.getColumn(0).getInt64());
  return counts;
}

}  // namespace moebius::sqlite
