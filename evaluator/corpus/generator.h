#pragma once
#include <array>
#include <cstdint>
#include <vector>

#include "space/base/rng.h"

namespace moebius {

// A language whose exact next-token distribution is known, so that a loss can be compared with the
// lowest possible one. Tokens are bytes; a document is drawn like this:
//   1. a domain d of 4, uniformly; it is hidden, but its statistics can be recognised;
//   2. symbols a..z and space, each by domain d's table for the two symbols before it (a mixture of
//      an order-1 and an order-2 row, each with 4 likely successors);
//   3. at any symbol, with small fixed probabilities instead:
//      '<' : the last 12 symbols of the document are repeated exactly, then '>' (copying);
//      '=' : a key A..P is drawn and a value of 2 symbols, all uniform (definition);
//      '?' : one of the keys defined so far is drawn uniformly and its latest value follows
//            exactly (recall);
//      '\n': the document ends.
// The markers say which rule comes next, so the distribution given a prefix is exact: the mixture
// of the domains' tables weighted by the posterior of d, or a rule's own probabilities.
class GeneratorState {
 public:
  static constexpr int kDomains = 4, kSymbols = 27, kKeys = 16, kCopied = 12, kValue = 2;

  GeneratorState() { posterior_.fill(1.0 / kDomains); }  // the start of a document
  // Of `token` coming next, given the document so far; over all 256 tokens they sum to 1.
  double probability(std::int32_t token) const;
  // The same for one who knows the domain.
  double probability(std::int32_t token, int domain) const;
  void push(std::int32_t token);
  bool ended() const { return ended_; }

 private:
  enum class Rule { Text, Copy, DefineKey, DefineValue, AskKey, Answer };
  double text_probability(std::int32_t token, int domain) const;
  void push_text(std::int32_t token);

  Rule rule_ = Rule::Text;
  std::array<double, kDomains> posterior_;
  std::vector<std::int32_t> text_;    // symbols of rule Text so far
  std::vector<std::int32_t> forced_;  // what Copy and Answer must give, last one next
  std::array<std::vector<std::int32_t>, kKeys> value_;  // of each key, latest; empty = not defined
  int defined_ = 0;                                     // keys with a value
  std::size_t key_ = 0;                                 // being defined
  bool ended_ = false;
};

// One document; its domain is derived from `rng` too.
std::vector<std::int32_t> generate_document(Rng rng);

}  // namespace moebius
