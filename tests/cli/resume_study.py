"""A study is resumed from itself: what is left out comes from it, what is said must agree."""

import json
import os
import pathlib
import sqlite3

from cli import check, equal, finish, fingerprint, rows, run, table_of, workspace

SYNTHETIC = ["--evaluator", "synthetic", "--budget", "300ktok", "--seed", "5"]


def space_document(**more):
    document = {
        "format": "moebius.space/1", "name": "mine", "block": {"sublayers": 4, "stacks": 1},
        "knobs": {"type": {"per": "sublayer", "choices": ["attn", "ffn"]},
                  "d_ffn": {"per": "block", "choices": [32, 64, 96, 128]}},
        "fixed": {"d_model": 32, "heads": 2, "head_dim": 16, "activation": "gelu"},
        "baseline": "base.json",
        "constraints": [{"metric": "active_flops", "min_over_baseline": 0.5,
                         "max_over_baseline": 1.5}]}
    return document | more


def block(width):
    layers = [{"type": "attn", "heads": 2, "head_dim": 16},
              {"type": "ffn", "d_ffn": width, "activation": "gelu"}] * 2
    return {"format": "moebius.block/1", "d_model": 32, "stacks": 1, "sublayers": layers}


def write(place, name, document):
    (pathlib.Path(place) / name).write_text(json.dumps(document))


def searched(place, db, study="first"):
    """Search trials without their numbers: those that confirm a search may stand between."""
    return [{key: value for key, value in row.items() if key not in ("number", "parent")}
            for row in table_of(place, db, study) if row["role"] == "search"]


def from_itself(place):
    seed = run(place, "space", "sample", "brainformer-nano", "--json").stdout
    (pathlib.Path(place) / "seed.json").write_bytes(seed)
    making = ["search", *SYNTHETIC, "--study", "first", "--batch", 8, "--baseline", "glam",
              "--baseline", "dense", "--seed-from", "seed.json"]
    run(place, *making, "--trials", 30, "--db", "a.db")
    run(place, *making, "--trials", 60, "--db", "b.db", "--sampler-option", "population=6")
    before = table_of(place, "a.db", "first")
    again = run(place, "search", "--db", "a.db", "--study", "first")
    check(b"30 trials" in again.stderr or b"0 left" in again.stderr, again.stderr.decode())
    equal(table_of(place, "a.db", "first"), before, "a complete study stays as it is")
    run(place, "search", "--db", "a.db", "--study", "first", "--trials", 60)
    equal(searched(place, "a.db"), searched(place, "b.db"),
          "30 and 30 more are 60 with a population of a fifth of 30")


def differences(place):
    before = fingerprint(place)
    done = run(place, "search", "--db", "a.db", "--study", "first", "--budget", "20s", "--seed", 6,
               "--batch", 4, "--lr", 0.5, "--baseline", "llama", "--space", "brainformer-mini",
               "--sampler-option", "population=9", "--lag", 4, "--vocab", 300, code=2)
    lines = done.stderr.decode().splitlines()
    for option in ("--space", "--budget", "--seed", "--batch", "--lr", "--baseline", "--vocab",
                   "--sampler-option"):
        check(any(line.startswith(f"error: {option}: ") for line in lines), f"{option}: {lines}")
    check(not any(line.startswith("error: --lag") for line in lines), f"--lag is equal: {lines}")
    equal(fingerprint(place), before, "nothing is written")
    same = run(place, "search", "--db", "a.db", "--study", "first", "--budget", "300ktok",
               "--seed", 5, "--batch", 8, "--space", "brainformer-nano", "--baseline", "glam",
               "--baseline", "dense", "--seed-from", "seed.json")
    equal(same.returncode, 0, "what is said and agrees is no difference")


def baseline_file(place):
    """A space without a scale, whose baseline is a file that changes and goes away."""
    write(place, "base.json", block(64))
    write(place, "s.json", space_document())
    check(b"sound" in run(place, "space", "check", "s.json").stdout, "a space without a scale")
    run(place, "space", "sample", "s.json", "--count", 2)
    run(place, "search", "--space", "s.json", *SYNTHETIC, "--trials", 10, "--db", "f.db")
    run(place, "search", "--space", "s.json", *SYNTHETIC, "--trials", 20, "--db", "g.db",
        "--sampler-option", "population=4")
    write(place, "base.json", block(4096))
    run(place, "search", "--space", "s.json", "--study", "mine", "--db", "f.db", "--trials", 15)
    os.remove(pathlib.Path(place) / "base.json")
    run(place, "search", "--study", "mine", "--db", "f.db", "--trials", 20)
    run(place, "noise", "--study", "mine", "--db", "f.db", "--seeds", 1)
    equal(searched(place, "f.db", "mine"), searched(place, "g.db", "mine"), "the study's own baseline")
    asked = run(place, "ask", "--space", "s.json", "--study", "asked", "--db", "f.db", code=2)
    check(b"base.json" in asked.stderr, asked.stderr.decode())
    write(place, "base.json", block(64))
    asked = run(place, "ask", "--space", "s.json", "--study", "asked", "--db", "f.db")
    equal(json.loads(asked.stdout)["trial"], 0, "ask needs no scale either")


def agreement(place):
    """What search refuses, check does not call sound."""
    write(place, "base.json", block(64))
    impossible = [{"metric": "parameters", "min_over_baseline": 500}]
    for name, document in (("i.json", space_document(constraints=impossible)),):
        write(place, name, document)
        search = run(place, "search", "--space", name, *SYNTHETIC, "--db", "i.db", code=2)
        checked = run(place, "space", "check", name, code=2)
        check(b"0 of " in search.stderr and b"0 of " in checked.stderr,
              f"{name}: {search.stderr!r} {checked.stderr!r}")


def newer(place):
    """An option of a later release is named; one that a file lacks has its default."""
    db = sqlite3.connect(pathlib.Path(place) / "g.db")
    options = json.loads(db.execute("SELECT options FROM study").fetchone()[0])
    without = {key: value for key, value in options.items() if key not in ("timeout", "backend")}
    db.execute("UPDATE study SET options = ?", (json.dumps(without),))
    db.commit()
    run(place, "search", "--study", "mine", "--db", "g.db")
    db.execute("UPDATE study SET options = ?", (json.dumps(options | {"rungs": 3}),))
    db.commit()
    done = run(place, "search", "--study", "mine", "--db", "g.db", code=2)
    check(b"/options/rungs: release " in done.stderr, done.stderr.decode())
    check(rows(place, "top", "--study", "mine", "--db", "g.db"), "it can still be read")


def options_of_trainers(place):
    done = run(place, "search", "--evaluator", "command", "--command", "sleep 20", "--timeout", 0.3,
               "--trials", 1, "--budget", "10ktok", "--db", "t.db", "--study", "t", code=4)
    check(b"timed out after 0.3 s" in done.stderr, done.stderr.decode())
    other = run(place, "search", "--study", "t", "--db", "t.db", "--timeout", 9, code=2)
    check(b"--timeout: " in other.stderr, other.stderr.decode())
    train = ["train", "dense-nano", "--data", "builtin", "--steps", 2, "--batch", 2,
             "--eval-tokens", 128, "--backend"]
    run(place, *train, "reference", "-o", "m")
    done = run(place, *train, "gpu", "-o", "n", code=2)
    check(b"--backend: not one of the choices" in done.stderr, done.stderr.decode())
    for command in (["eval", "m", "--data", "builtin", "--tokens", 128],
                    ["sample", "m", "--tokens", 2], ["bench", "step", "--model", "dense-nano",
                                                     "--steps", 1, "--batch", 2]):
        run(place, *command, "--backend", "reference")


def set_rules(place, db, study, rules):
    """As a release with other rules would have made the study; None: from before rules had a version."""
    connection = sqlite3.connect(pathlib.Path(place) / db)
    options = json.loads(connection.execute("SELECT options FROM study WHERE name = ?",
                                            (study,)).fetchone()[0])
    options.pop("rules", None)
    if rules is not None:
        options["rules"] = rules
    connection.execute("UPDATE study SET options = ? WHERE name = ?", (json.dumps(options), study))
    connection.commit()
    connection.close()


def refused(place, db, study, rules, *commands):
    before = fingerprint(place)
    for command in commands:
        done = run(place, *command, "--db", db, "--study", study, code=2)
        lines = done.stderr.decode().splitlines()
        check(len(lines) == 1 and lines[0].startswith(f"error: --study: {study} was made under rules {rules} ")
              and "--seed-from" in lines[0], f"{command}: {lines}")
    equal(fingerprint(place), before, "nothing is written")


def other_rules(place):
    """A study of other rules is read and marked; nothing is added to it."""
    run(place, "search", *SYNTHETIC, "--trials", 4, "--db", "r.db", "--study", "s")
    run(place, "scale", "--db", "r.db", "--study", "s", "--top", 1, "--to", "micro", "--budget", "300ktok")
    asked = json.loads(run(place, "ask", "--space", "brainformer-nano", "--db", "r.db", "--study",
                           "served").stdout)
    equal(asked["trial"], 0, "a trial is given out")
    before = rows(place, "top", "--db", "r.db", "--study", "s")
    check(b"rules" not in run(place, "top", "--db", "r.db", "--study", "s").stdout, "no mark today")
    for rules in (None, 1, 3):
        for study in ("s", "s-micro", "served"):
            set_rules(place, "r.db", study, rules)
        number = rules or 1
        refused(place, "r.db", "s", number, ("search",), ("search", "--trials", 9), ("noise",),
                ("enqueue", "glam-nano"))
        refused(place, "r.db", "served", number, ("ask",), ("tell", 0, "--loss", 2),
                ("ask", "--space", "brainformer-nano"))
        before_scale = fingerprint(place)
        done = run(place, "scale", "--db", "r.db", "--study", "s", "--top", 2, "--to", "micro",
                   "--budget", "300ktok", code=2)
        check(b"--study: s-micro was made under rules" in done.stderr, done.stderr.decode())
        equal(fingerprint(place), before_scale, "nothing is scaled into it")
        equal(rows(place, "top", "--db", "r.db", "--study", "s"), before, "it ranks as before")
        mark = f"study s was made under rules {number}, this release has rules 2".encode()
        for command in (("top", "--study", "s"), ("show", 0, "--study", "s"), ("studies",)):
            check(mark in run(place, *command, "--db", "r.db").stdout, f"{command} marks it")
        equal([row["rules"] for row in rows(place, "studies", "--db", "r.db")], [number] * 3, "studies")
        equal(json.loads(run(place, "show", 0, "--db", "r.db", "--study", "s", "-f", "json").stdout)["rules"],
              number, "show")
    best = before[0]["number"]
    path = run(place, "export", best, "--db", "r.db", "--study", "s", "-o", "seeds").stdout.decode().strip()
    equal(json.loads((pathlib.Path(place) / path).read_text())["provenance"]["rules"], 3, "exported")
    run(place, "search", *SYNTHETIC, "--trials", 2, "--db", "r.db", "--study", "next", "--seed-from", path)
    done = run(place, "scale", "--db", "r.db", "--study", "s", "--top", 1, "--to", "micro", "--name", "up",
               "--budget", "300ktok")
    check(mark in done.stderr, done.stderr.decode())
    made = {row["study"]: row["rules"] for row in rows(place, "studies", "--db", "r.db")}
    equal((made["next"], made["up"]), (2, 2), "what is made now has the rules of now")


def schema_1(place):
    shared = pathlib.Path(os.environ.get("MOEBIUS_SHARED", "")) / "data/studies/demo-schema1.db"
    if not os.environ.get("MOEBIUS_SHARED") or not shared.exists():
        print("skipped: no demo-schema1.db (set MOEBIUS_SHARED)")
        return
    (pathlib.Path(place) / "d.db").write_bytes(shared.read_bytes())
    top = rows(place, "top", "--db", "d.db")
    check(top and all(row["loss"] is not None for row in top), f"an old study ranks: {top}")
    equal([row["rules"] for row in rows(place, "studies", "--db", "d.db")], [1], "its rules")
    study = rows(place, "studies", "--db", "d.db")[0]["study"]
    refused(place, "d.db", study, 1, ("ask",), ("search",), ("search", "--trials", 99), ("noise",),
            ("enqueue", "glam-nano"), ("tell", 0, "--loss", 2))
    for command in (("top",), ("show", top[0]["number"]), ("studies",)):
        check(b"was made under rules 1" in run(place, *command, "--db", "d.db").stdout, f"{command} marks it")
    path = run(place, "export", top[0]["number"], "--db", "d.db", "-o", "old").stdout.decode().strip()
    run(place, "search", *SYNTHETIC, "--trials", 1, "--db", "d.db", "--study", "next", "--seed-from", path,
        "--stopper-option", "margin=9")
    equal([row["loss"] for row in rows(place, "top", "--db", "d.db", "--study", study)],
          [row["loss"] for row in top], "taken over, it ranks as before")


def main():
    with workspace() as place:
        from_itself(place)
        differences(place)
        baseline_file(place)
        agreement(place)
        newer(place)
        options_of_trainers(place)
        other_rules(place)
        schema_1(place)
    finish()


main()
