#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "space/spec.h"

namespace moebius {

// One row of the scale table (space/presets/scales.json): the only place for D, K, depth, experts,
// S, B and V of a size.
struct Scale {
  std::string name;  // "nano", "micro", "mini", "100m-32e", "100m-32e-v32k", "1b-64e", "8b-64e"
  std::int64_t d_model = 0;    // D
  std::int64_t head_dim = 0;   // K
  std::int64_t sublayers = 0;  // of the whole model
  std::int64_t experts = 0;    // E
  std::int64_t seq = 0;        // S
  std::int64_t batch = 0;      // B
  std::int64_t vocab = 0;      // V used in predictions; training takes V from the corpus
};

std::vector<Scale> scales();
// "1b-64e", or as papers write it "1B/64E". Error(BadInput) naming the rows.
Scale scale(const std::string& name);

// A baseline block file (space/blocks/NAME.json, "moebius.baseline/1") holds widths as ratios to
// the table's D, so that it sits at the same place at every scale. baseline("glam-nano") = block
// "glam" at row "nano". Published sizes at 1B and 8B are in the file. Error(BadInput) naming what
// is known.
Spec baseline(const std::string& name, const LayerTypes& types);
Spec baseline(const std::string& block, const Scale& scale, const LayerTypes& types);
std::vector<std::string> baseline_blocks();  // "dense", "llama", "primer-ez", "switch", "glam",
                                             // "glam-dropless", "glam-ec", ...
std::vector<std::string> fixed_blocks();     // of one size, without a scale: "dense-110m", ..
// A block document of either kind: "moebius.baseline/1" resolved at `scale`, or "moebius.block/1".
Spec read_block(const Json& document, const std::string& file, const Scale& scale,
                const LayerTypes& types);
// "brainformer-1-100m-32e": the block brainformer-1 at the scale 100m-32e.
struct BaselineName {
  std::string block, scale;
};
std::optional<BaselineName> split_baseline(const std::string& name);  // none: not such a name

// `width` as a whole multiple of `step`, at least one.
std::int64_t rounded_width(double width, std::int64_t step);
// How often a block repeats at a scale. Error(BadInput) naming `block` when its length does not
// divide the sub-layers of the row.
std::int64_t stacks_at(const Scale& scale, std::size_t block_length, const std::string& block);

// Every field with Field::iso_flops re-solved (one common factor; integers in multiples of 16, or
// finer where those are too coarse) so that active FLOPs per token match `target` within 2 %.
// Error(BadInput) when no width does.
Spec iso_flops(const Spec& spec, double target_active_flops, const LayerTypes& types,
               const TokenShape& shape);

// What happens to the number of heads H and their width K.
// Row: where the rows have the same K, both stay, as in the paper (1.7: 29.5B and 157.2B for
// Brainformer-1); where they differ, K goes with the rows' and H so that H K grows as D does: a
// block of nano keeps its share of attention, with heads as wide as those of its new neighbours.
// Keep: both stay. ScaleHeads: H grows as D. ScaleHeadDim: K grows as D.
enum class HeadRule { Row, Keep, ScaleHeads, ScaleHeadDim };
// A searched block at another scale: D and fields that scale as widths times the ratio of table
// widths, integers rounded to 16; E from the table; stacks = total sub-layers / block length; heads
// and K by `rule`.
Spec scale_block(const Spec& spec, const Scale& from, const Scale& to, const LayerTypes& types,
                 HeadRule rule = HeadRule::Row);

}  // namespace moebius
