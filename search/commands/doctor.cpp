#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "model/backends/describe.h"
#include "model/instruction_level.h"
#include "model/learner.h"
#include "model/roofline.h"
#include "search/commands/options.h"
#include "search/report/table.h"
#include "search/results/builtin_catalog.h"
#include "search/results/version.h"
#include "space/base/memory.h"
#include "space/base/units.h"

namespace moebius {
namespace {

std::vector<std::pair<std::string, std::string>> findings(const DbOptions& db) {
  const Json about = version_json();
  const unsigned threads = std::max(1U, std::thread::hardware_concurrency());
  const std::unique_ptr<Backend> backend =
      builtin_catalog().backends.get(LearnerOptions{}.backend).make({});
  const std::string unit = bf16_unit_name();
  const bool prose = std::filesystem::exists("/usr/share/dictd/gcide.dict.dz");
  std::vector<std::pair<std::string, std::string>> found = {
      {"moebius",
       fmt::format("{} ({}), {}, {}", version(), git_revision(),
                   about["compiler"].get<std::string>(), about["build"].get<std::string>())},
      {"cpu", cpu_name()},
      {"instruction level", fmt::format("{}{}; this machine offers {}", instruction_level(),
                                        instruction_level_is_requested() ? " (MOEBIUS_LEVEL)" : "",
                                        join(offered_instruction_levels(), ", "))},
      {"threads", fmt::format("{} here; plan: --workers {} --threads 1", threads, threads)},
      {"memory",
       fmt::format("{}, {} free", bytes_text(physical_memory()), bytes_text(free_memory()))},
      {"products",
       fmt::format("{} with f32 sums (--precision auto); bf16 {}", dtype_text(backend->operand()),
                   unit == "emulated" ? "emulated in f32" : "by " + unit)},
      {"database", open_db(db.db, OpenMode::Create)->describe()},
      {"terminal", isatty(STDERR_FILENO) != 0
                       ? fmt::format("{} columns", terminal_width(STDERR_FILENO, 80))
                       : "none: progress is plain lines"},
      {"prose for the demo", prose ? "dict-gcide is installed"
                                   : "dict-gcide is not installed; the demo uses the generator"},
  };
  for (const auto& [name, plugin] : builtin_catalog().backends)
    found.emplace_back("back-end " + name, description(plugin));
  return found;
}

}  // namespace

Command commands_doctor() {
  return {"what this machine offers and what Moebius makes of it",
          [](Args& args) -> std::function<int()> {
            auto db = std::make_shared<DbOptions>();
            args.example("moebius doctor");
            args.example("MOEBIUS_LEVEL=avx2 moebius doctor   # a lower instruction level");
            args.option("--db PATH|URL", db->db, "results database to look at");
            return [db] {
              for (const auto& [what, found] : findings(*db))
                print_out(fmt::format("{:<19} {}\n", what, found));
              return 0;
            };
          }};
}

}  // namespace moebius
