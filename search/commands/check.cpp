#include "search/commands/options.h"
#include "search/report/table.h"

namespace moebius {

Command commands_check() {
  return {"verifies every promise about the contents of a database",
          [](Args& args) -> std::function<int()> {
            auto db = std::make_shared<DbOptions>();
            args.example("moebius check --db runs/moebius.db");
            args.option("--db PATH|URL", db->db, "results database");
            return [db]() -> int {
              const std::vector<std::string> broken =
                  open_existing(*db, OpenMode::ReadOnly)->check();
              for (const std::string& line : broken) print_out(printable(line) + "\n");
              if (!broken.empty()) return static_cast<int>(Exit::Storage);
              print_out("sound\n");
              return 0;
            };
          }};
}

}  // namespace moebius
