#pragma once
#include <string>
#include <vector>

#include "evaluator/evaluator.h"
#include "space/spec.h"

namespace moebius {

// Line-drawing characters: Unicode unless the environment names another character set.
enum class Charset { Ascii, Unicode };
Charset terminal_charset();

// The block top to bottom: a box per sub-layer with its fields, and the residual line around it.
std::string draw_block(const Spec& spec, const LayerTypes& types, Charset charset);

// Validation loss (training loss where none was measured) over steps, `width` x `height`
// characters and axes. "" when there is nothing to draw.
std::string draw_curve(const std::vector<CurvePoint>& curve, std::size_t width, std::size_t height,
                       Charset charset);

}  // namespace moebius
