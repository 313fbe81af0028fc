#include "search/commands/session.h"
#include "search/report/table.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  std::vector<std::string> blocks;
};

int run(const Options& options) {
  std::vector<Spec> specs;
  for (const std::string& name : options.blocks) specs.push_back(load_block(name).spec);
  StudyRequest request;
  request.elsewhere = true;
  const std::unique_ptr<Session> session = Session::reopen(options.db, {}, request, false);
  const std::vector<std::int64_t> numbers = session->study().add(specs, TrialRole::Search, -1, 1);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    print_out(fmt::format("{}: trial {}\n", printable(options.blocks[i]), numbers[i]));
  return 0;
}

}  // namespace

Command commands_enqueue() {
  return {"adds blocks to a study; the next search or ask takes them first",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius enqueue exports/first-t12.json --study first");
            args.positionals("BLOCK", options->blocks, true,
                             "a block file or baseline (glam-nano)");
            describe(args, options->db);
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
