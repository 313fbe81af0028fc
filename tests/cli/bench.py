"""What `moebius bench` prints, by which scripts compare machines and programs. Nothing is asked of the times."""

import json

from cli import check, equal, finish, run, workspace


def line(place, *words):
    lines = run(place, "bench", *words, "--json", code=0).stdout.splitlines()
    equal(len(lines), 1, "one JSON line")
    return json.loads(lines[0])


def main():
    with workspace() as place:
        step = line(place, "step", "--model", "glam-nano", "--steps", 1, "--batch", 4, "--micro-batch", 4)
        for key in ("tokens_per_s", "step_s", "cpu_s", "peak_rss_mb", "loss"):
            check(step[key] > 0, f"{key}: {step[key]}")
        equal(step["tokens_per_step"], 4 * 64, "tokens of a step")
        equal(step["rows_per_expert"], 4 * 64 * 2 // 8, "Top-2 of 8 experts")
        check(0 <= step["dropped"] < 1, f"dropped: {step['dropped']}")
        for model in ("glam-ec-nano", "glam-dropless-nano"):
            equal(line(place, "step", "--model", model, "--steps", 1)["dropped"], 0, f"{model} drops nothing")
        check("rows_per_expert" not in line(place, "step", "--model", "dense-nano", "--steps", 1), "no experts")
        for precision, name in (("fp32", "f32"), ("bf16", "bf16")):
            attention = line(place, "attention", "--seq", 33, "--heads", 2, "--head-dim", 16, "--batch", 1,
                             "--repeats", 2, "--precision", precision)
            equal(attention["precision"], name, "precision")
            check(attention["seconds"] > 0 and attention["gflops"] > 0, attention)
        optimizer = line(place, "optimizer", "--parameters", 4096, "--repeats", 2)
        check(optimizer["gbs"] > 0 and optimizer["triad_gbs"] > 0, optimizer)
        check(b"allowed" in run(place, "bench", "attention", "--precision", "int8", code=2).stderr, "bad precision")
    finish()


main()
