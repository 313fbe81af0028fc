#pragma once
#include <string>
#include <utility>
#include <vector>

#include "space/base/check.h"
#include "space/base/text.h"

namespace moebius {

// Plug-ins of one kind by name, in the order of their .def file. Names are unique.
template <class Plugin>
class Registry {
 public:
  explicit Registry(std::string kind) : kind_(std::move(kind)) {}

  void add(const std::string& name, Plugin plugin) {
    MOEBIUS_CHECK(find(name) == nullptr, "[registry] {} '{}' is registered twice", kind_, name);
    plugins_.emplace_back(name, std::move(plugin));
  }

  // nullptr when there is no such plug-in.
  const Plugin* find(const std::string& name) const {
    for (const auto& [known, plugin] : plugins_)
      if (known == name) return &plugin;
    return nullptr;
  }

  // Error(BadInput) naming the known plug-ins and the nearest one.
  const Plugin& get(const std::string& name) const {
    if (const Plugin* plugin = find(name)) return *plugin;
    bad_input(kind_, unknown_name("unknown " + kind_, name, names()), join(names(), ", "),
              printable(name));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : plugins_) result.push_back(entry.first);
    return result;
  }

  auto begin() const { return plugins_.begin(); }
  auto end() const { return plugins_.end(); }

 private:
  std::string kind_;
  std::vector<std::pair<std::string, Plugin>> plugins_;
};

}  // namespace moebius
