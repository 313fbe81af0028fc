#include "search/commands/args.h"

namespace moebius {

#define PLUGIN(name) Command commands_##name();
#include "search/commands.def"
#undef PLUGIN

const Registry<Command>& commands() {
  static const Registry<Command> registry = [] {
    Registry<Command> result("command");
#define PLUGIN(name) result.add(#name, commands_##name());
#include "search/commands.def"
#undef PLUGIN
    return result;
  }();
  return registry;
}

}  // namespace moebius
