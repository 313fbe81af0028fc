"""A plug-in of each kind, one file and one line: what the command line makes of it."""

import json
import pathlib
import subprocess
import sys
import tempfile

moebius = str(pathlib.Path(sys.argv[1]).resolve())
folder = tempfile.TemporaryDirectory()
here = pathlib.Path(folder.name)


def run(*arguments, code=0):
    done = subprocess.run([moebius, *map(str, arguments)], cwd=here, capture_output=True, text=True)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def query(sql):
    text = run("query", "--db", "r.db", "-f", "json", "--sql", sql)
    return json.loads(text)


SPACE = {
    "format": "moebius.space/1",
    "name": "plugged",
    "block": {"sublayers": 4, "stacks": 1},
    "knobs": {
        "type": {"per": "sublayer", "choices": ["shift", "moe", "ffn"]},
        "d_model": {"per": "block", "choices": [32, 48]},
        "d_shift": {"per": "block", "choices": [32, 64]},
        "d_ffn": {"per": "block", "choices": [64, 128]},
    },
    "fixed": {"spread": 0.25, "activation": "relu", "d_moe": 64, "experts": 4,
              "gating": "next_token", "capacity": 1},
    "recipe": {"batch": 4, "micro_batch": 4, "seq": 32, "optimizer": "amsgrad"},
    "baseline": "base.json",
}
BASE = {
    "format": "moebius.block/1", "d_model": 32, "stacks": 1,
    "sublayers": [{"type": "shift", "d_shift": 32}, {"type": "ffn", "d_ffn": 64, "activation": "relu"}],
}
(here / "space.json").write_text(json.dumps(SPACE))
(here / "base.json").write_text(json.dumps(BASE))

# --help and the space's own checks
help_text = run("search", "--help")
for word in ("every", "above", "widths", "stride"):
    assert word in help_text, (word, help_text)
assert "types" in run("export", "--help")
assert "amsgrad" in run("train", "--help")
run("space", "check", "space.json")
assert "d_shift" in run("space", "show", "space.json")
bad = json.loads(json.dumps(SPACE))
bad["knobs"]["d_shift"]["choices"] = [32, 1024]
(here / "bad.json").write_text(json.dumps(bad))
assert "1024" in run("space", "check", "bad.json")

# an evaluator, a sampler with an option and a stopper
run("search", "--space", "space.json", "--db", "r.db", "--study", "first", "--evaluator", "widths",
    "--budget", "10steps", "--trials", "12", "--sampler", "every", "--sampler-option", "stride=2",
    "--stopper", "above", "--stopper-option", "loss=0.1")
counted = query("select state, count(*) as n from trials where study = 'first' group by state")
states = {row["state"] for row in counted}
assert states == {"done", "pruned"}, counted
shifts = query("select distinct value from sublayer where field = 'd_shift'")
assert {row["value"] for row in shifts} <= {32, 64} and shifts, shifts

# the gating that sees the future: training finds it out, whatever it declares
run("search", "--space", "space.json", "--db", "r.db", "--study", "future", "--data", "builtin",
    "--budget", "4steps", "--trials", "3", code=4)
rows = query("select state, message, causal, ranked_causal from trials where study = 'future' and role = 'search'")
assert rows and all(row["state"] == "failed" and row["ranked_causal"] == "selection" and "error of the program" in row["message"] for row in rows), rows

# the layer and the optimizer in real training
dense = json.loads(json.dumps(SPACE))
dense["knobs"]["type"]["choices"] = ["shift", "ffn"]
for field in ("d_moe", "experts", "gating", "capacity"):
    del dense["fixed"][field]
(here / "dense.json").write_text(json.dumps(dense))
run("search", "--space", "dense.json", "--db", "r.db", "--study", "trained", "--data", "builtin",
    "--budget", "4steps", "--trials", "4")
rows = query("select state, number, active_flops from trials where study = 'trained' and role = 'search'")
assert rows and all(row["state"] == "done" and row["active_flops"] > 0 for row in rows), rows
shifts = query("select distinct d_shift from sublayers where d_shift is not null")
assert shifts and {row["d_shift"] for row in shifts} <= {32, 64}, shifts
done = [rows[0]["number"]]
assert "shift" in run("show", done[0], "--db", "r.db", "--study", "trained")
run("export", done[0], "--db", "r.db", "--study", "trained", "--format", "types", "-o", "out")
exported = next((here / "out").iterdir()).read_text()
assert "shift" in exported, exported
print("every plug-in is where a user looks for it")
