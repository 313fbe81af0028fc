#pragma once
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace moebius {

// How an attempt ended. A failed architecture is a value, never an exception.
// Stopped: by request; the attempt can be resumed.
enum class Ending { Done, Pruned, Diverged, Infeasible, OutOfMemory, Failed, Stopped };
std::string ending_text(Ending ending);  // "done", .., "out_of_memory", "failed", "stopped"

struct CurvePoint {
  std::int64_t step = 0;   // steps done
  double train_loss = 0;   // mean since the last point, nats per token
  double valid_loss = 0;   // on the fixed small subset; NaN when not evaluated here
  double cpu_seconds = 0;  // training only
};

inline constexpr double kNotMeasured = std::numeric_limits<double>::quiet_NaN();

// What one ended attempt measured (a row of `measurement`). NaN = not measured.
struct Measurement {
  double loss = kNotMeasured, native_loss = kNotMeasured, stopped_loss = kNotMeasured;
  std::int64_t stopped_step = 0;
  double bits_per_byte = kNotMeasured;
  // "yes" | "drops" | "selection" (causality_text): what the probe found with the routing of
  // training; of the command evaluator, whose trainer is not probed, what the block declares.
  std::string causal;
  std::string ranked_causal;  // the same in the mode that ranks; "" = not probed
  std::string split = "validation";
  double epochs = 0;
  std::int64_t steps = 0, tokens = 0;
  double flops = 0, cpu_seconds = 0, wall_seconds = 0, virtual_seconds = kNotMeasured;
  double step_seconds = kNotMeasured, step_ratio = kNotMeasured;
  std::int64_t parameters = 0, active_parameters = 0;
  double active_flops = 0;
  std::int64_t peak_bytes = 0;
  double kept_pairs = 0, dropped_pairs = 0, tokens_per_active_parameter = 0;
  std::string result_hash;
};

// A field of Measurement: the one word for it in the database, listings, JSON and SQL.
struct MeasurementField {
  const char* name;
  enum class Unit { None, Loss, Count, Ratio, Seconds, Bytes } unit;
  const char* help;
};

// Visits every field, in the order of the columns of `measurement`. Schema, listings, show, export
// and the rules on numbers that are not finite come from this list.
template <class M, class Visit>
void for_each_field(M&& m, Visit&& visit) {
  using F = MeasurementField;
  using enum MeasurementField::Unit;
  visit(F{"loss", Loss, "final causal validation loss, nats per token; only of a done trial"},
        m.loss);
  visit(F{"native_loss", Loss, "the same with the training routing; minus loss: the gap"},
        m.native_loss);
  visit(F{"stopped_loss", Loss, "last validation loss of a trial that did not finish"},
        m.stopped_loss);
  visit(F{"stopped_step", None, "the step of stopped_loss"}, m.stopped_step);
  visit(F{"bits_per_byte", Loss, "loss in bits per byte of text"}, m.bits_per_byte);
  visit(F{"causal", None, "yes, drops or selection: what training lets logits see of the future"},
        m.causal);
  visit(F{"ranked_causal", None, "the same of the evaluation that ranks, as probed"},
        m.ranked_causal);
  visit(F{"split", None, "the split that the loss is of"}, m.split);
  visit(F{"epochs", Ratio, "passes over the training split"}, m.epochs);
  visit(F{"steps", None, "optimizer steps trained"}, m.steps);
  visit(F{"tokens", Count, "tokens trained on"}, m.tokens);
  visit(F{"flops", Count, "static FLOPs of all steps"}, m.flops);
  visit(F{"cpu_seconds", Seconds, "CPU time of training alone"}, m.cpu_seconds);
  visit(F{"wall_seconds", Seconds, "wall time of training alone"}, m.wall_seconds);
  visit(F{"virtual_seconds", Seconds, "time that a device profile predicts"}, m.virtual_seconds);
  visit(F{"step_seconds", Seconds, "thread-CPU time of one step, median"}, m.step_seconds);
  visit(F{"step_ratio", Ratio, "step time over the baseline's, measured interleaved"},
        m.step_ratio);
  visit(F{"parameters", Count, "all parameters, embedding included"}, m.parameters);
  visit(F{"active_parameters", Count, "those that a token meets, without the embedding"},
        m.active_parameters);
  visit(F{"active_flops", Count, "forward FLOPs of a token, without the head"}, m.active_flops);
  visit(F{"peak_bytes", Bytes, "memory at the highest point"}, m.peak_bytes);
  visit(F{"kept_pairs", Count, "(token, expert) pairs kept in a step, mean"}, m.kept_pairs);
  visit(F{"dropped_pairs", Count, "pairs dropped in a step, mean"}, m.dropped_pairs);
  visit(F{"tokens_per_active_parameter", Ratio, "tokens over active_parameters"},
        m.tokens_per_active_parameter);
  visit(F{"result_hash", None, "over weights and curve: equal for equal bits"}, m.result_hash);
}

struct Outcome {
  Ending ending = Ending::Failed;
  std::string message;  // why, with the numbers; empty when Done
  Measurement measurement;
  std::vector<CurvePoint> curve;
};

}  // namespace moebius
