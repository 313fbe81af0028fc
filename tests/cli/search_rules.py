"""What a search refuses before it writes, and what it says of rules that it does not apply."""

import json
import pathlib

from cli import check, equal, finish, fingerprint, rows, run, workspace

SYNTHETIC = ["search", "--evaluator", "synthetic", "--trials", "8", "--db", "r.db", "--study", "s"]


def step_time(place):
    tokens = run(place, *SYNTHETIC, "--budget", "300ktok").stderr.decode()
    check("not applied: the step-time constraint of brainformer-nano (at most 1 x the baseline's): "
          "with --budget 300ktok steps are not timed" in tokens, tokens)
    again = run(place, *SYNTHETIC, "--budget", "300ktok").stderr.decode()
    check("not applied" not in again, f"nothing is searched any more: {again}")
    timed = run(place, *SYNTHETIC[:-1], "timed", "--budget", "20s").stderr.decode()
    check("not applied" not in timed, timed)
    outside = run(place, "search", "--evaluator", "command", "--command", "false", "--budget", "20s",
                  "--trials", "1", "--db", "c.db", code=4).stderr.decode()
    check("an external trainer's steps are not timed" in outside, outside)


def parallel(place):
    before = fingerprint(place)
    for command in (["noise", "--db", "r.db", "--study", "s"],
                    ["scale", "--db", "r.db", "--study", "s", "--top", "1", "--to", "micro"]):
        lag = run(place, *command, "--workers", 8, code=2)
        check(b"--workers: more trials at once than the lag" in lag.stderr, lag.stderr)
        threads = run(place, *command, "--workers", 2, "--threads", 2, code=2)
        check(b"--threads: the CPU time of a trial is not known" in threads.stderr, threads.stderr)
        equal(fingerprint(place), before, f"{command[0]}: nothing is written")


def scaled(place):
    def scale(top, *more):
        run(place, "scale", "--db", "r.db", "--study", "s", "--to", "micro", "--budget", "10ktok",
            "--top", top, *more)
        return rows(place, "trials", "--db", "r.db", "--study", "s-micro")

    best = rows(place, "top", "--db", "r.db", "--study", "s", "--where", "role = search")
    expected = [f"t{row['number']}-micro" for row in best]
    plan = rows(place, "scale", "--db", "r.db", "--study", "s", "--to", "micro", "--top", 1, "--plan")
    needs = {row["name"]: row["peak_bytes"] for row in plan}
    between = sum(sorted(needs.values())[-2:]) / 2
    first = scale(1, "--memory", f"{between / 2**20:.3f}MiB")
    left_out = [name for name, memory in needs.items() if memory > between]
    equal(len(left_out), 1, f"one block is left out of {needs}")
    names = [row["label"] for row in first]
    check(left_out[0] not in names, f"{left_out} does not fit: {names}")
    second = scale(2)
    equal([row["label"] for row in second if row["role"] == "baseline"],
          [row["label"] for row in first if row["role"] == "baseline"],
          "the baselines stay, however much memory there is")
    found = [row["label"] for row in second if row["role"] == "scaled"]
    check(set(expected[:2]) <= set(found), f"a larger --top adds blocks: {found} of {expected}")
    equal([row for row in second if row["number"] < len(first)], first, "the others stay")


def vocabulary(place):
    command = ["search", "--evaluator", "command", "--command",
               'echo "{\\"final\\":true,\\"loss\\":$MOEBIUS_SEED}"', "--budget", "300ktok",
               "--trials", "1", "--db", "v.db"]

    def parameters(study, *more):
        run(place, *command, "--study", study, *more)
        return rows(place, "trials", "--db", "v.db", "--study", study)[0]["parameters"]

    small, large = parameters("small"), parameters("large", "--vocab", 32000)
    check(large > small + 31744 * 32, f"the vocabulary counts: {small}, {large}")
    other = run(place, *command, "--study", "large", "--vocab", 30000, code=2)
    check(b"--vocab: study large was made with another; allowed: 32000; got: 30000" in other.stderr, other.stderr)
    run(place, "noise", "--db", "v.db", "--study", "large", "--seeds", 1)
    again = rows(place, "trials", "--db", "v.db", "--study", "large", "--where", "role = noise")
    equal(again[0]["parameters"], large, "noise trains with the study's vocabulary")
    own = run(place, *SYNTHETIC[:-1], "fresh", "--budget", "300ktok", "--vocab", 300, code=2)
    equal(own.stderr, b"error: --vocab: --evaluator synthetic has its own; allowed: 256; got: 300\n",
          "an option that would do nothing is refused")


def impossible(place):
    (pathlib.Path(place) / "s.json").write_text(json.dumps({
        "format": "moebius.space/1", "name": "s", "block": {"sublayers": 4, "stacks": 1},
        "scale": "nano", "knobs": {"d_ffn": {"per": "block", "choices": [32, 64]}},
        "fixed": {"type": "ffn", "d_model": 32, "activation": "gelu"}, "baseline": "dense",
        "constraints": [{"metric": "parameters", "min_over_baseline": 1000}]}))
    before = fingerprint(place)
    done = run(place, "search", "--space", "s.json", "--data", "builtin", "--db", "i.db", code=2)
    check(b"s:/constraints: 0 of " in done.stderr, done.stderr)
    equal(fingerprint(place), before, "nothing is written or trained for a space without a block")


def kept_weights(place):
    root = pathlib.Path(place)
    run(place, "search", "--data", "builtin", "--trials", 1, "--budget", "10ktok", "--batch", 4,
        "--eval-tokens", 2048, "--stopper-option", "margin=9", "--db", "w.db", "--study", "w")
    (root / "elsewhere").mkdir()
    args = ["eval", "0", "--data", "builtin", "--tokens", 2048, "--json"]
    loss = json.loads(run(root / "elsewhere", *args, "--db", "../w.db").stdout)["loss"]
    trained = rows(place, "trials", "--db", "w.db", "--where", "number = 0")[0]["loss"]
    check(abs(loss - trained) < 1e-6, f"eval from another directory: {loss}, {trained}")


def main():
    with workspace() as place:
        step_time(place)
        parallel(place)
        scaled(place)
        vocabulary(place)
        impossible(place)
        kept_weights(place)
    finish()


main()
