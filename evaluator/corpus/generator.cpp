#include "evaluator/corpus/generator.h"

#include <cstddef>
#include <memory>

#include "space/base/check.h"

namespace moebius {
namespace {

using State = GeneratorState;

constexpr std::int32_t kCopy = '<', kCopyEnd = '>', kDefine = '=', kAsk = '?', kEnd = '\n';
// Probabilities of the rules at a symbol of text, where they are possible.
constexpr double kCopyShare = 1.0 / 64, kDefineShare = 1.0 / 48, kAskShare = 1.0 / 32,
                 kEndShare = 1.0 / 256;

int symbol_of(std::int32_t token) {
  if (token == ' ') return 26;
  return token >= 'a' && token <= 'z' ? token - 'a' : -1;
}
std::int32_t token_of(int symbol) { return symbol == 26 ? ' ' : 'a' + symbol; }

// P(symbol | domain, the two before it), [d][before * 27 + last][symbol].
struct Tables {
  double row[State::kDomains][State::kSymbols * State::kSymbols][State::kSymbols];
};

// Adds half a distribution with four likely successors, drawn by (key, context).
void add_row(std::uint64_t key, int context, double* row) {
  constexpr double kLikely[4] = {0.50, 0.25, 0.13, 0.08};
  constexpr double kRest = 0.04 / State::kSymbols;
  for (int s = 0; s < State::kSymbols; ++s) row[s] += 0.5 * kRest;
  const auto bits = philox(key, static_cast<std::uint64_t>(context));
  for (std::size_t i = 0; i < 4; ++i) row[bits[i] % State::kSymbols] += 0.5 * kLikely[i];
}

const Tables& tables() {
  static const std::unique_ptr<const Tables> instance = [] {
    auto made = std::make_unique<Tables>();
    for (int d = 0; d < State::kDomains; ++d) {
      const auto index = static_cast<std::uint64_t>(d);
      const std::uint64_t one = derive_key(0, "generator-order-1", index);
      const std::uint64_t two = derive_key(0, "generator-order-2", index);
      for (int context = 0; context < State::kSymbols * State::kSymbols; ++context) {
        add_row(one, context % State::kSymbols, made->row[d][context]);
        add_row(two, context, made->row[d][context]);
      }
    }
    return made;
  }();
  return *instance;
}

const std::vector<std::int32_t>& alphabet() {
  static const std::vector<std::int32_t> all = [] {
    std::vector<std::int32_t> tokens = {kCopy, kCopyEnd, kDefine, kAsk, kEnd};
    for (int s = 0; s < State::kSymbols; ++s) tokens.push_back(token_of(s));
    for (int k = 0; k < State::kKeys; ++k) tokens.push_back('A' + k);
    return tokens;
  }();
  return all;
}

}  // namespace

double GeneratorState::text_probability(std::int32_t token, int domain) const {
  const double copy = text_.size() >= kCopied ? kCopyShare : 0;
  const double ask = defined_ > 0 ? kAskShare : 0;
  if (token == kCopy) return copy;
  if (token == kAsk) return ask;
  if (token == kDefine) return kDefineShare;
  if (token == kEnd) return kEndShare;
  const int symbol = symbol_of(token);
  if (symbol < 0) return 0;
  const int last = text_.empty() ? 26 : symbol_of(text_.back());
  const int before = text_.size() < 2 ? 26 : symbol_of(text_[text_.size() - 2]);
  return (1 - copy - ask - kDefineShare - kEndShare) *
         tables().row[domain][before * kSymbols + last][symbol];
}

double GeneratorState::probability(std::int32_t token, int domain) const {
  const bool is_key = token >= 'A' && token < 'A' + kKeys;
  switch (rule_) {
    case Rule::Text:
      return text_probability(token, domain);
    case Rule::Copy:
    case Rule::Answer:
      return token == forced_.back() ? 1 : 0;
    case Rule::DefineKey:
      return is_key ? 1.0 / kKeys : 0;
    case Rule::DefineValue:
      return symbol_of(token) >= 0 ? 1.0 / kSymbols : 0;
    case Rule::AskKey:
      return is_key && !value_[static_cast<std::size_t>(token - 'A')].empty() ? 1.0 / defined_ : 0;
  }
  return 0;
}

double GeneratorState::probability(std::int32_t token) const {
  double sum = 0;
  for (int d = 0; d < kDomains; ++d)
    sum += posterior_[static_cast<std::size_t>(d)] * probability(token, d);
  return sum;
}

void GeneratorState::push_text(std::int32_t token) {
  if (token == kEnd) {
    ended_ = true;
  } else if (token == kCopy) {
    rule_ = Rule::Copy;
    forced_ = {kCopyEnd};
    forced_.insert(forced_.end(), text_.rbegin(), text_.rbegin() + kCopied);
  } else if (token == kDefine) {
    rule_ = Rule::DefineKey;
  } else if (token == kAsk) {
    rule_ = Rule::AskKey;
  } else {
    const double total = probability(token);
    for (int d = 0; d < kDomains; ++d)
      posterior_[static_cast<std::size_t>(d)] *= probability(token, d) / total;
    text_.push_back(token);
  }
}

void GeneratorState::push(std::int32_t token) {
  MOEBIUS_CHECK(!ended_ && probability(token) > 0, "[generator] token {} cannot come here", token);
  switch (rule_) {
    case Rule::Text:
      return push_text(token);
    case Rule::Copy:
    case Rule::Answer:
      forced_.pop_back();
      if (forced_.empty()) rule_ = Rule::Text;
      return;
    case Rule::DefineKey:
      key_ = static_cast<std::size_t>(token - 'A');
      if (value_[key_].empty()) ++defined_;
      value_[key_].clear();
      rule_ = Rule::DefineValue;
      return;
    case Rule::DefineValue:
      value_[key_].push_back(token);
      if (value_[key_].size() == kValue) rule_ = Rule::Text;
      return;
    case Rule::AskKey:
      forced_.assign(value_[static_cast<std::size_t>(token - 'A')].rbegin(),
                     value_[static_cast<std::size_t>(token - 'A')].rend());
      rule_ = Rule::Answer;
      return;
  }
}

std::vector<std::int32_t> generate_document(Rng rng) {
  GeneratorState state;
  const int domain = static_cast<int>(rng.below(State::kDomains));
  std::vector<std::int32_t> document;
  while (!state.ended()) {
    const double draw = rng.uniform();
    double below = 0;
    std::int32_t token = -1;  // the last one with a probability, should rounding leave a gap
    for (const std::int32_t each : alphabet()) {
      const double p = state.probability(each, domain);
      if (p > 0) token = each;
      if ((below += p) > draw) break;
    }
    state.push(token);
    document.push_back(token);
  }
  return document;
}

}  // namespace moebius
