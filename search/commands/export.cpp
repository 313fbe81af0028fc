#include "search/exporters/exporter.h"

#include <algorithm>
#include <cctype>
#include <filesystem>

#include "search/commands/options.h"
#include "search/report/table.h"

namespace moebius {
namespace {

struct Options {
  DbOptions db;
  std::string what, format = "json", out = "exports", name;
  bool force = false;
};

bool is_number(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](unsigned char c) { return std::isdigit(c) != 0; });
}

ExportSubject subject_of(Options& options) {
  if (!is_number(options.what)) {
    const Block block = load_block(options.what);
    const Json provenance = block.provenance.is_object() ? block.provenance : Json::object();
    return {block.spec, block.recipe, provenance, block.name};
  }
  const auto results = open_existing(options.db, OpenMode::ReadOnly);
  const StudyRow study = pick_study(*results, options.db);
  const History history = results->history(study.id);
  return export_subject(study, history, pick_trial(history, options.what));
}

int run(Options& options) {
  const ExporterPlugin& exporter = exporters().get(options.format);
  ExportSubject subject = subject_of(options);
  if (!options.name.empty()) subject.name = options.name;
  if (const std::string why = why_bad_name(subject.name); !why.empty())
    bad_input("--name", why, "letters, digits, _ . -, at most 64", subject.name);
  print_out(exporter.write(subject, options.out, options.force) + "\n");
  return 0;
}

}  // namespace

Command commands_export() {
  return {"writes a block for other stacks and for search --seed-from, train, enqueue",
          [](Args& args) -> std::function<int()> {
            auto options = std::make_shared<Options>();
            args.example("moebius export 12 --study first -o exports");
            args.example("moebius export glam-nano -o blocks");
            args.positional("WHAT", options->what, true,
                            "a trial's number, a baseline, or the folder that train wrote");
            describe(args, options->db);
            args.choice("--format", options->format, exporters().names(), "file format");
            args.option("-o,--out DIR", options->out, "where to; made when missing");
            args.option("--name NAME", options->name, "of the file; STUDY-tNUMBER when left out");
            args.flag("--force", options->force, "replace an existing file");
            return [options] { return run(*options); };
          }};
}

}  // namespace moebius
