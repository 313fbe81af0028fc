#pragma once
#include <cstdint>
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

// What one ended attempt measured (a row of `measurement`). NaN = not measured.
struct Measurement {
  double loss;          // final causal validation loss, nats per token; NaN unless Done
  double native_loss;   // with the training routing; loss - native_loss is the leak
  double stopped_loss;  // last interim validation loss of an attempt that did not finish
  std::int64_t stopped_step = 0;
  double bits_per_byte;
  // "yes" | "drops" | "selection" (causality_text): what the probe found; of the command evaluator,
  // whose trainer is not probed, what the block declares.
  std::string causal;
  std::string split = "validation";
  double epochs = 0;                         // passes over the training split
  std::int64_t steps = 0, tokens = 0;        // trained
  double flops = 0;                          // static FLOPs per step x steps
  double cpu_seconds = 0, wall_seconds = 0;  // training only
  double virtual_seconds;                    // predicted, NaN without a profile
  double step_seconds;                       // thread-CPU median of one optimizer step
  double step_ratio;  // candidate / baseline, measured interleaved; NaN when not needed
  std::int64_t parameters = 0, active_parameters = 0;
  double active_flops = 0;  // per token, forward, without the head
  std::int64_t peak_bytes = 0;
  double kept_pairs = 0, dropped_pairs = 0;  // per step, mean
  double tokens_per_active_parameter = 0;
  std::string result_hash;  // over weights and curve: equal for equal bits
  Measurement();            // numbers that may be absent are NaN
};

struct Outcome {
  Ending ending = Ending::Failed;
  std::string message;  // why, with the numbers; empty when Done
  Measurement measurement;
  std::vector<CurvePoint> curve;
};

}  // namespace moebius
