#include "evaluator/training/trainer.h"

#include <algorithm>
#include <cmath>

#include "evaluator/training/step_time.h"
#include "space/base/hash.h"

namespace moebius {
namespace {

constexpr std::int64_t kLivePoints = 48, kCurvePoints = 16, kValidPoints = 8;  // of a run
constexpr std::int64_t kInterimBatches = 8;

// Whether step `step` of `steps` (1-based) completes one of `parts` equal parts of the run.
bool completes_part(std::int64_t step, std::int64_t steps, std::int64_t parts) {
  return step * parts / steps > (step - 1) * parts / steps;
}

class Loop {
 public:
  Loop(Learner& learner, const Corpus& corpus, const Recipe& recipe, const TrainPlan& plan,
       Progress& progress, Observer& observer)
      : learner_(learner),
        corpus_(corpus),
        recipe_(recipe),
        plan_(plan),
        progress_(progress),
        observer_(observer),
        saved_seconds_(progress.wall_seconds) {}

  TrainResult run() {
    while (progress_.step < progress_.steps && result_.ending == Ending::Done) {
      if (observer_.stop()) {
        stop();
        break;
      }
      if (progress_.wall_seconds - saved_seconds_ > plan_.checkpoint_seconds) save();
      step();
    }
    if (!samples_.empty()) {
      const auto middle = samples_.begin() + static_cast<std::ptrdiff_t>(samples_.size() / 2);
      std::nth_element(samples_.begin(), middle, samples_.end());
      result_.step_seconds = *middle;
    }
    return result_;
  }

 private:
  void stop() {
    save();
    end(Ending::Stopped,
        fmt::format("stopped after {} of {} steps", progress_.step, progress_.steps));
  }

  void save() {
    saved_seconds_ = progress_.wall_seconds;
    if (!plan_.checkpoint.empty())
      learner_.save(plan_.checkpoint, progress_.step, true,
                    checkpoint_metadata(progress_, plan_.identity).dump());
  }

  void step() {
    const std::int64_t t = progress_.step;
    corpus_.train_batch(plan_.seed, t, recipe_.batch, recipe_.seq, batch_);
    const CpuClock clock(plan_.threads);
    const double cpu = clock.seconds(), wall = wall_seconds();
    const StepResult result = learner_.train(batch_.tokens, batch_.targets, t, progress_.steps);
    samples_.push_back(clock.seconds() - cpu);
    progress_.cpu_seconds += samples_.back();
    progress_.wall_seconds += wall_seconds() - wall;
    ++progress_.step;
    progress_.kept += result.kept;
    progress_.dropped += result.dropped;
    progress_.loss_sum += result.loss;
    ++progress_.loss_count;
    if (const std::string why = take_loss(progress_, result.loss, result.gradient_norm);
        !why.empty())
      end(Ending::Diverged, why);
    else if (completes_part(progress_.step, progress_.steps, kLivePoints))
      point();
  }

  void point() {
    const std::int64_t step = progress_.step, steps = progress_.steps;
    CurvePoint point{step, progress_.loss_sum / static_cast<double>(progress_.loss_count),
                     std::nan(""), progress_.cpu_seconds};
    if (completes_part(step, steps, kValidPoints)) {
      const std::int64_t batches =
          std::min(kInterimBatches, evaluation_batches(corpus_, Split::Validation, recipe_));
      point.valid_loss =
          mean_loss(learner_, corpus_, Split::Validation, recipe_, batches, Mode::Causal);
    }
    if (completes_part(step, steps, kCurvePoints)) {
      progress_.curve.push_back(point);
      progress_.loss_sum = 0;
      progress_.loss_count = 0;
    }
    const std::string pruned = observer_.point(point, steps);
    if (completes_part(step, steps, kValidPoints) && !std::isfinite(point.valid_loss))
      end(Ending::Diverged,
          fmt::format("validation loss {} at step {} of {}", point.valid_loss, step, steps));
    else if (!pruned.empty())
      end(Ending::Pruned, pruned);
  }

  void end(Ending ending, std::string message) {
    result_.ending = ending;
    result_.message = std::move(message);
  }

  Learner& learner_;
  const Corpus& corpus_;
  const Recipe& recipe_;
  const TrainPlan& plan_;
  Progress& progress_;
  Observer& observer_;
  double saved_seconds_;  // of training, at the last save
  TokenWindows batch_;
  std::vector<double> samples_;  // CPU seconds of each step
  TrainResult result_;
};

}  // namespace

TrainResult train(Learner& learner, const Corpus& corpus, const Recipe& recipe,
                  const TrainPlan& plan, Progress& progress, Observer& observer) {
  return Loop(learner, corpus, recipe, plan, progress, observer).run();
}

std::int64_t evaluation_batches(const Corpus& corpus, Split split, const Recipe& recipe) {
  const std::int64_t wanted = (recipe.eval_tokens + recipe.tokens() - 1) / recipe.tokens();
  return std::max<std::int64_t>(1,
                                std::min(wanted, corpus.batches(split, recipe.batch, recipe.seq)));
}

double mean_loss(Learner& learner, const Corpus& corpus, Split split, const Recipe& recipe,
                 std::int64_t batches, Mode mode) {
  TokenWindows batch;
  double sum = 0;
  for (std::int64_t i = 0; i < batches; ++i) {
    corpus.fixed_batch(split, i, recipe.batch, recipe.seq, batch);
    for (const double loss : learner.evaluate(batch.tokens, batch.targets, mode)) sum += loss;
  }
  return sum / static_cast<double>(batches * recipe.tokens());
}

std::string result_hash(Learner& learner, const std::vector<CurvePoint>& curve, double loss) {
  constexpr std::int64_t kChunk = 1 << 20;  // elements read together
  Hasher hasher;
  const auto add = [&](double value) { hasher.add(&value, sizeof(value)); };
  for (const CurvePoint& point : curve) {
    add(static_cast<double>(point.step));
    add(point.train_loss);
    add(std::isnan(point.valid_loss) ? -1 : point.valid_loss);  // NaN has many bit patterns
  }
  add(loss);
  std::vector<std::byte> buffer;
  for (std::size_t i = 0; i < learner.params().slots().size(); ++i) {
    const View all = learner.params().value(Weight{static_cast<int>(i)});
    const std::int64_t rows = std::max<std::int64_t>(1, kChunk / all.cols);
    for (std::int64_t begin = 0; begin < all.rows; begin += rows) {
      const View part = all.row_range(begin, std::min(rows, all.rows - begin));
      buffer.resize(static_cast<std::size_t>(part.size() * size_of(part.dtype)));
      learner.backend().memory.read(part, buffer.data());
      hasher.add(buffer.data(), buffer.size());
    }
  }
  return hasher.hex();
}

}  // namespace moebius
