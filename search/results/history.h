#pragma once
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "search/results/trial.h"

namespace moebius {

// Where a History takes trials from that it does not hold.
class TrialSource {
 public:
  virtual ~TrialSource() = default;
  virtual TrialPtr trial(std::int64_t number) const = 0;
  // Numbers, in rising order.
  virtual std::vector<std::int64_t> of_block(const std::string& spec_hash) const = 0;
  virtual std::vector<std::int64_t> of_role(TrialRole role) const = 0;
  // Numbers of trials with a loss, the lowest first, at most `limit`; 0 = all.
  virtual std::vector<std::int64_t> by_loss(std::int64_t limit) const = 0;
  virtual std::vector<std::string> repeated() const = 0;  // blocks with at least two trials
};

// How many trials a study has, and which have not ended.
struct StudyCounts {
  std::map<std::pair<TrialRole, TrialState>, std::int64_t> trials;
  std::set<std::int64_t> open;
  std::int64_t of(TrialRole role) const;
  std::int64_t of(TrialState state) const;
  std::int64_t all() const;
};

class TrialRange;

// A study's trials, in number order, appended to as the database is. Trials are immutable and
// shared: a copy is a vector of pointers. One that came from a database reads trials when they are
// asked for; that database must outlive it.
// Outcomes are without their curve (ResultsDb::read_curve).
class History {
 public:
  History() = default;  // without trials; holds all that are added
  History(StudyCounts counts, std::shared_ptr<const TrialSource> source);

  std::int64_t size() const { return static_cast<std::int64_t>(held_.size()); }
  TrialRange trials() const&;                    // every one; each that is not held is read
  TrialRange trials() &&;                        // for (.. : study.history().trials())
  const Trial* find(std::int64_t number) const;  // nullptr: no such trial
  std::vector<const Trial*> of_block(const std::string& spec_hash) const;
  std::vector<const Trial*> of_role(TrialRole role) const;
  std::vector<const Trial*> by_loss(std::int64_t limit) const;
  std::vector<std::string> repeated() const;
  bool seen(const std::string& spec_hash) const;  // among baseline and search trials
  std::int64_t count(TrialRole role) const { return counts_.of(role); }
  std::int64_t count(TrialState state) const { return counts_.of(state); }
  const std::set<std::int64_t>& open() const { return counts_.open; }  // numbers, not final
  std::int64_t first_open() const { return open().empty() ? size() : *open().begin(); }
  // The lag rule (DESIGN 5): all trials <= number - lag are final, whatever their role.
  bool ready(std::int64_t number, std::int64_t lag) const { return first_open() > number - lag; }

  void add(Trial trial);     // number must be the next one
  void update(Trial trial);  // one that is there, in another state
  // Lets go of trials that have ended, but for the first and the youngest.
  void trim();

 private:
  void hold(Trial trial);
  std::vector<const Trial*> found(const std::vector<std::int64_t>& numbers) const;

  mutable std::vector<TrialPtr> held_;  // by number; null: to be read from source_
  std::shared_ptr<const TrialSource> source_;
  StudyCounts counts_;
  std::int64_t trimmed_ = 0;
  std::map<std::string, std::vector<std::int64_t>> blocks_;  // by spec_hash, without a source
};

// The trials of a history in number order.
class TrialRange {
 public:
  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = Trial;
    using difference_type = std::ptrdiff_t;
    using pointer = const Trial*;
    using reference = const Trial&;
    Iterator() = default;
    Iterator(const History* history, std::int64_t number) : history_(history), number_(number) {}
    reference operator*() const { return *history_->find(number_); }
    pointer operator->() const { return history_->find(number_); }
    Iterator& operator++() { return ++number_, *this; }
    Iterator operator++(int) { return {history_, number_++}; }
    bool operator==(const Iterator&) const = default;

   private:
    const History* history_ = nullptr;
    std::int64_t number_ = 0;
  };
  explicit TrialRange(const History* history) : history_(history) {}
  explicit TrialRange(History&& history)
      : kept_(std::make_shared<const History>(std::move(history))), history_(kept_.get()) {}
  Iterator begin() const { return {history_, 0}; }
  Iterator end() const { return {history_, history_->size()}; }
  std::size_t size() const { return static_cast<std::size_t>(history_->size()); }
  bool empty() const { return size() == 0; }
  const Trial& operator[](std::size_t i) const {
    return *history_->find(static_cast<std::int64_t>(i));
  }
  const Trial& back() const { return (*this)[size() - 1]; }

 private:
  std::shared_ptr<const History> kept_;
  const History* history_;
};

}  // namespace moebius
