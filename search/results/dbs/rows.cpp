#include "search/results/dbs/rows.h"

#include <SQLiteCpp/Transaction.h>

#include <array>

namespace moebius::sqlite {
namespace {

// Columns of `sublayer` and the fields of a sub-layer type that they hold.
constexpr std::array<std::pair<const char*, const char*>, 11> kSublayerColumns = {{
    {"heads", "heads"},
    {"head_dim", "head_dim"},
    {"position_kind", "position"},
    {"qkv_conv", "qkv_conv"},
    {"d_ffn", "d_ffn"},
    {"activation", "activation"},
    {"d_moe", "d_moe"},
    {"experts", "experts"},
    {"gating", "gating"},
    {"capacity", "capacity"},
    {"routing_group", "group"},
}};

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
  SQLite::Statement& row;
  int index;
  void operator()(const char*, double& value) { value = real(row.getColumn(index++)); }
  void operator()(const char*, std::int64_t& value) { value = row.getColumn(index++).getInt64(); }
  void operator()(const char*, std::string& value) { value = row.getColumn(index++).getString(); }
};

Ending parse_ending(const std::string& text) {
  for (const Ending ending : {Ending::Done, Ending::Pruned, Ending::Diverged, Ending::Infeasible,
                              Ending::OutOfMemory, Ending::Failed})
    if (ending_text(ending) == text) return ending;
  damaged("an unknown ending '" + text + "'");
}

Trial read_trial(SQLite::Statement& row) {
  Trial trial;
  trial.id = row.getColumn(0).getInt64();
  trial.number = row.getColumn(1).getInt64();
  trial.role = row.getColumn(2).getString();
  trial.label = row.getColumn(3).getString();
  trial.state = parse_state(row.getColumn(4).getString());
  trial.attempt = row.getColumn(5).getInt64();
  trial.point = stored_point(row.getColumn(6));
  trial.spec = stored_spec(stored_json(row.getColumn(7).getString()));
  trial.spec_hash = row.getColumn(8).getString();
  trial.parent = row.getColumn(9).isNull() ? -1 : row.getColumn(9).getInt64();
  trial.op = row.getColumn(10).getString();
  trial.seed = static_cast<std::uint64_t>(row.getColumn(11).getInt64());
  trial.owner = row.getColumn(12).getString();
  if (row.getColumn(13).isNull()) return trial;
  trial.outcome.emplace();
  trial.outcome->ending = parse_ending(row.getColumn(13).getString());
  trial.outcome->message = row.getColumn(14).getString();
  for_each_column(trial.outcome->measurement, ReadColumn{row, 15});
  return trial;
}

void insert_sublayers(SQLite::Database& database, std::int64_t trial, const Spec& spec) {
  std::string columns = "trial, position, type, d_model", marks = "?, ?, ?, ?";
  for (const auto& entry : kSublayerColumns) {
    columns += std::string(", ") + entry.first;
    marks += ", ?";
  }
  const std::string sql = fmt::format("INSERT INTO sublayer ({}) VALUES ({})", columns, marks);
  for (std::size_t i = 0; i < spec.sublayers.size(); ++i) {
    const SubLayer& sublayer = spec.sublayers[i];
    Bound insert(database, sql, trial, static_cast<std::int64_t>(i), sublayer.type, spec.d_model);
    for (const auto& entry : kSublayerColumns) {
      const auto field = sublayer.fields.find(entry.second);
      if (field == sublayer.fields.end())
        insert.push_null();
      else
        std::visit([&](const auto& value) { insert.push(value); }, field->second);
    }
    insert.exec();
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

bool insert_trial(SQLite::Database& database, std::int64_t study, Trial& trial) {
  Bound known(database, "SELECT id, spec_hash, role FROM trial WHERE study = ? AND number = ?",
              study, trial.number);
  if (known.executeStep()) {
    if (known.getColumn(1).getString() != trial.spec_hash ||
        known.getColumn(2).getString() != trial.role)
      throw Error(Exit::Storage, fmt::format("trial {} is another block already", trial.number));
    trial.id = known.getColumn(0).getInt64();
    return false;
  }
  Bound last(database, "SELECT coalesce(max(number), -1) FROM trial WHERE study = ?", study);
  last.executeStep();
  if (trial.number != last.getColumn(0).getInt64() + 1)
    throw Error(Exit::Storage, fmt::format("trial {} does not follow trial {}", trial.number,
                                           last.getColumn(0).getInt64()));
  Bound insert(database,
               "INSERT INTO trial (study, number, role, label, spec, spec_hash, op, seed, point,"
               " parent) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
               study, trial.number, trial.role, trial.label, exact_json(trial.spec),
               trial.spec_hash, trial.op, trial.seed);
  trial.point.empty() ? insert.push_null() : insert.push(Json(trial.point));
  trial.parent < 0 ? insert.push_null() : insert.push(trial.parent);
  insert.exec();
  trial.id = database.getLastInsertRowid();
  insert_sublayers(database, trial.id, trial.spec);
  return true;
}

void insert_measurement(SQLite::Database& database, std::int64_t trial, std::int64_t attempt,
                        const Outcome& outcome) {
  std::string columns = "trial, attempt, ending, message", marks = "?, ?, ?, ?";
  for_each_column(outcome.measurement, [&](const char* name, const auto&) {
    columns += std::string(", ") + name;
    marks += ", ?";
  });
  Bound insert(database, fmt::format("INSERT INTO measurement ({}) VALUES ({})", columns, marks),
               trial, attempt, ending_text(outcome.ending), outcome.message);
  for_each_column(outcome.measurement, [&](const char*, const auto& value) { insert.push(value); });
  insert.exec();
  put_curve(database, trial, attempt, outcome.curve);
}

void put_curve(SQLite::Database& database, std::int64_t trial, std::int64_t attempt,
               const std::vector<CurvePoint>& points) {
  Bound(database, "DELETE FROM curve WHERE trial = ? AND attempt = ?", trial, attempt).exec();
  for (const CurvePoint& point : points)
    Bound(database,
          "INSERT INTO curve (trial, attempt, step, train_loss, valid_loss, cpu_seconds)"
          " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
          trial, attempt, point.step, point.train_loss, point.valid_loss, point.cpu_seconds)
        .exec();
}

StudyRow study_row(SQLite::Statement& row) {
  StudyRow study;
  study.id = row.getColumn(0).getInt64();
  study.settings.name = row.getColumn(1).getString();
  study.settings.space = stored_json(row.getColumn(2).getString());
  study.settings.recipe = stored_json(row.getColumn(3).getString());
  study.settings.options = stored_json(row.getColumn(4).getString());
  study.settings.seed = static_cast<std::uint64_t>(row.getColumn(5).getInt64());
  study.settings.lag = row.getColumn(6).getInt64();
  study.settings.provenance = stored_json(row.getColumn(7).getString());
  study.redrawn = row.getColumn(8).getInt64();
  study.created = row.getColumn(9).getString();
  return study;
}

History read_history(SQLite::Database& database, std::int64_t study) {
  SQLite::Transaction snapshot(database);
  std::string measured;
  const Measurement names;
  for_each_column(names,
                  [&](const char* name, const auto&) { measured += std::string(", m.") + name; });
  std::vector<Trial> trials;
  Bound rows(database,
             "SELECT t.id, t.number, t.role, t.label, t.state, t.attempt, t.point, t.spec,"
             " t.spec_hash, t.parent, t.op, t.seed, t.owner, m.ending, m.message" +
                 measured +
                 " FROM trial t LEFT JOIN measurement m ON m.trial = t.id AND m.attempt = t.attempt"
                 " WHERE t.study = ? ORDER BY t.number",
             study);
  while (rows.executeStep()) trials.push_back(read_trial(rows));
  Bound points(database,
               "SELECT t.number, c.step, c.train_loss, c.valid_loss, c.cpu_seconds"
               " FROM trial t JOIN curve c ON c.trial = t.id AND c.attempt = t.attempt"
               " WHERE t.study = ? ORDER BY t.number, c.step",
               study);
  while (points.executeStep()) {
    Trial& trial = trials.at(static_cast<std::size_t>(points.getColumn(0).getInt64()));
    if (!trial.outcome) continue;
    trial.outcome->curve.push_back({points.getColumn(1).getInt64(), real(points.getColumn(2)),
                                    real(points.getColumn(3)), real(points.getColumn(4))});
  }
  History history;
  for (Trial& trial : trials) history.add(std::move(trial));
  return history;
}

}  // namespace moebius::sqlite
