#include "search/commands/listing.h"
#include "search/commands/options.h"
#include "search/report/leaderboard.h"
#include "search/study/stored.h"

namespace moebius {

Command commands_top() {
  return {"the leaderboard of a study: finished blocks over all their seeds",
          [](Args& args) -> std::function<int()> {
            auto db = std::make_shared<DbOptions>();
            auto list = std::make_shared<ListOptions>();
            list->limit = 20;
            args.example("moebius top --study first");
            args.example("moebius top -f json --limit 5");
            args.example("moebius top --where 'causal = yes and step_ratio <= 1'");
            describe(args, *db);
            describe_format(args, *list);
            describe_filters(args, *list);
            return [db, list] {
              const auto results = open_existing(*db, OpenMode::ReadOnly);
              const StudyRow study = pick_study(*results, *db);
              const History history = results->history(study.id);
              // Conditions and another order look at every block.
              const bool all = !list->where.empty() || !list->sort.empty();
              const Leaderboard board = leaderboard(history, all ? 0 : list->limit);
              print_table(leaderboard_table(board), *list);
              if (list->format == "table")
                print_out(leaderboard_notes(board, study_words(study, *db)) +
                          rules_note(study.settings));
              return 0;
            };
          }};
}

}  // namespace moebius
