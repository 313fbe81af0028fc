"""The demo, short: baselines with three seeds, twelve searched blocks, an honest last word, an
exported block; a second one is a study of its own."""

import json
import pathlib

from cli import check, equal, finish, rows, run, workspace


def main():
    with workspace() as place:
        out = run(place, "demo", "--seconds", 8, timeout=240).stdout.decode()
        trials = rows(place, "trials", "--db", "runs/demo.db")
        roles = [row["role"] for row in trials]
        equal((roles.count("baseline"), roles.count("search")), (6, 12), "trials by role")
        baselines = {row["label"] for row in trials if row["role"] == "baseline"}
        equal(baselines, {"glam-nano", "dense-nano"}, "baselines")
        check(any(word in out for word in ("no block beat", "beats", "cannot be told apart",
                                             "fresh seeds a claim needs")), out)
        check("noise 0." in out and "active_" in out, out)
        check("next: moebius show" in out, out)
        path = out.split("exported ")[1].split("\n")[0]
        document = json.loads((pathlib.Path(place) / path).read_text())
        equal(document["format"], "moebius.block/1", "the exported block")
        equal([row["study"] for row in rows(place, "studies", "--db", "runs/demo.db")], ["demo"],
              "studies")
    finish()


main()
