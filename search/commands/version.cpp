#include "search/results/version.h"

#include "search/commands/args.h"
#include "search/report/table.h"

namespace moebius {

Command commands_version() {
  return {"prints what this binary is", [](Args& args) -> std::function<int()> {
            auto json = std::make_shared<bool>(false);
            args.example("moebius version --json");
            args.flag("--json", *json, "with compiler, libraries, instruction levels and formats");
            return [json] {
              const Json all = version_json();
              print_out(*json ? all.dump(2) + "\n"
                              : fmt::format("moebius {} ({}, {})\n", version(), git_revision(),
                                            all["compiler"].get<std::string>()));
              return 0;
            };
          }};
}

}  // namespace moebius
