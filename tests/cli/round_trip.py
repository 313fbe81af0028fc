"""Blocks go out by export and come back by enqueue, --seed-from and train; ask and tell drive a
study by hand."""

import json
import pathlib
import shutil

from cli import check, equal, finish, interrupt_after, rows, run, start, workspace

SYNTHETIC = ["--evaluator", "synthetic", "--budget", "300ktok"]


def by_hand(place):
    first = json.loads(run(place, "ask", "--space", "brainformer-nano", "--db", "h.db", "--study",
                           "hand", "--budget", "300ktok", "--trials", 3, "--seed", 5).stdout)
    equal((first["trial"], first["role"], first["budget"]), (0, "baseline", "300ktok"), "ask")
    equal(first["spec"]["format"], "moebius.block/1", "ask gives the block")
    unasked = run(place, "tell", 1, "--db", "h.db", "--loss", 2.0, code=2)
    check(b"only a trial that was asked for" in unasked.stderr, unasked.stderr)
    run(place, "tell", 0, "--db", "h.db", "--loss", 2.5, "--steps", 293)
    run(place, "tell", 0, "--db", "h.db", "--loss", 2.4, code=2)
    told = 1
    while True:
        done = run(place, "ask", "--db", "h.db", code=None)
        asked = json.loads(done.stdout)
        if asked["trial"] is None:
            equal((done.returncode, asked["wait"]), (0, False), "the study is complete")
            break
        if told == 2:
            run(place, "tell", asked["trial"], "--db", "h.db", "--ending", "diverged", "--message",
                "NaN at step 40")
        else:
            run(place, "tell", asked["trial"], "--db", "h.db", "--loss", 2.0 + 0.01 * told)
        told += 1
        check(told < 20, "ask comes to an end")
    states = [row["state"] for row in rows(place, "trials", "--db", "h.db")]
    equal(sorted(set(states)), ["diverged", "done"], "states")
    equal(len([r for r in rows(place, "trials", "--db", "h.db") if r["role"] == "search"]), 3,
          "search trials")
    failed = rows(place, "trials", "--db", "h.db", "--where", "state = diverged")[0]
    refused = run(place, "export", failed["number"], "--db", "h.db", "-o", "none", code=2)
    check(b"allowed: done; got: diverged" in refused.stderr, refused.stderr)
    check(not (pathlib.Path(place) / "none").exists(), "nothing is created")
    missing = run(place, "export", 9999, "--db", "h.db", "-o", "none", code=2)
    check(b"no such trial" in missing.stderr, missing.stderr)


def blocks(place):
    root = pathlib.Path(place)
    run(place, "search", *SYNTHETIC, "--trials", 10, "--db", "a.db", "--study", "a")
    best = rows(place, "top", "--db", "a.db", "--where", "role = search", "--limit", 1)[0]
    path = run(place, "export", best["number"], "--db", "a.db", "-o", "out").stdout.decode().strip()
    document = json.loads((root / path).read_text())
    equal(document["format"], "moebius.block/1", "format")
    equal(document["provenance"]["number"], best["number"], "provenance")
    run(place, "export", best["number"], "--db", "a.db", "-o", "out", code=2)
    run(place, "export", best["number"], "--db", "a.db", "-o", "out", "--force")
    run(place, "search", *SYNTHETIC, "--trials", 5, "--db", "b.db", "--study", "b",
        "--seed", 99, "--seed-from", path)
    second = rows(place, "trials", "--db", "b.db", "--where", "role = search")
    equal(second[0]["spec_hash"], best["spec_hash"], "--seed-from comes first")
    run(place, "search", *SYNTHETIC, "--trials", 5, "--db", "c.db", "--study", "c",
        "--seed", 98)
    out = run(place, "enqueue", path, "--db", "c.db").stdout.decode()
    number = int(out.rsplit(" ", 1)[1])
    run(place, "search", *SYNTHETIC, "--trials", 5, "--db", "c.db", "--study", "c",
        "--seed", 98)
    third = rows(place, "trials", "--db", "c.db", "--where", f"number = {number}")[0]
    equal((third["spec_hash"], third["state"]), (best["spec_hash"], "done"), "enqueue")
    noise = json.loads(run(place, "noise", "--db", "a.db", "--seeds", 2, "-f", "json").stdout)
    check(all(row["seeds"] >= 3 for row in noise), f"noise: {noise}")
    talk = run(place, "noise", "--db", "a.db", "--seeds", 2).stderr.decode()
    check("2 of 2 further seeds are there, 0 to add" in talk, talk)
    check("1 to add" in run(place, "noise", "--db", "a.db", "--seeds", 3).stderr.decode(), "one more")
    repeats = rows(place, "trials", "--db", "a.db", "--where", "role = noise")
    equal(len(repeats), 3 * len(noise), "further seeds in all")
    verdicts = {run(place, *command, "--db", "a.db").stdout.decode().split("at equal ", 1)[1]
                for command in (["top"], ["noise", "--seeds", 3])}
    equal(len(verdicts), 1, "every command prints the same verdict")
    plan = rows(place, "scale", "--db", "a.db", "--top", 2, "--to", "1B/64E", "--plan")
    check(len([row for row in plan if row["number"] is not None]) == 2, f"plan: {plan}")
    check(all(row["parameters"] > 1e8 for row in plan), f"plan: {plan}")
    too_many = run(place, "scale", "--db", "a.db", "--top", 999, "--to", "micro", "--plan", code=2)
    check(b"error: " in too_many.stderr, too_many.stderr)
    return path


def training(place, path):
    root = pathlib.Path(place)
    common = ["--data", "builtin", "--eval-tokens", 4096]
    for steps in (60, 600, 6000):  # a fast machine may be done before it is interrupted
        process = start(place, "train", "dense-nano", *common, "--steps", steps, "-o", "cut")
        talk = interrupt_after(process, b"step ", count=1)
        if process.returncode == 130:
            break
        shutil.rmtree(root / "cut")
    equal(process.returncode, 130, "an interrupted run")
    check(b"resume with: moebius train" in talk, talk)
    run(place, "train", "dense-nano", *common, "--steps", steps, "-o", "cut")
    run(place, "train", "dense-nano", *common, "--steps", steps, "-o", "whole")
    equal((root / "cut/model.safetensors").read_bytes(),
          (root / "whole/model.safetensors").read_bytes(), "a resumed run has the same weights")
    run(place, "train", "dense-nano", *common, "--steps", steps + 1, "-o", "whole", code=2)
    result = json.loads(run(place, "eval", "whole", *common[:2], "--tokens", 4096, "--json").stdout)
    check(1 < result["loss"] < 6, f"eval: {result}")
    test = json.loads(run(place, "eval", "whole", *common[:2], "--final", "--json").stdout)
    equal(test["split"], "test", "eval --final")
    text = [run(place, "sample", "whole", "--prompt", "ab", "--tokens", 20, "--seed", 4).stdout
            for _ in range(2)]
    check(text[0].startswith(b"ab") and len(text[0]) > 10, f"sample: {text[0]!r}")
    equal(text[0], text[1], "the same seed gives the same text")
    run(place, "train", path, *common, "--steps", 5, "-o", "block")
    check((root / "block/train.jsonl").exists(), "the curve is kept")
    run(place, "export", "block", "-o", "out2")


def main():
    with workspace() as place:
        by_hand(place)
        training(place, blocks(place))
    finish()


main()
