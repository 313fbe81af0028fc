"""Bad input: one line that names place, rule and value; exit 2; nothing written."""

import pathlib
import shutil

from cli import check, equal, finish, fingerprint, run, workspace

SPACE = """{"format": "moebius.space/1", "name": "s", "block": {"sublayers": 4, "stacks": 1},
  "scale": "nano",
  "knobs": {"type": {"per": "sublayer", "choices": ["attn", "ffn"]},
            "d_model": {"per": "block", "choices": [32, 48]}},
  "fixed": {"heads": 3, "head_dim": 16, "position": "rope", "d_ffn": 96, "activation": "gelu"},
  "baseline": "dense"}"""

# Arguments, and what standard error is, exactly.
LINES = [
    (["sarch"], "unknown command 'sarch'; did you mean 'search'?; see moebius --help"),
    (["search", "--trils", "5"], "unknown option '--trils'; did you mean '--trials'?"),
    (["search", "--workers", "0"], "--workers: must be an integer; allowed: 1..64; got: 0"),
    (["search", "--workers", "1e9"], "--workers: must be an integer; allowed: 1..64; got: 1e9"),
    (["search", "--workers", "abc"], "--workers: must be an integer; allowed: 1..64; got: abc"),
    (["search", "--seed=-1"],
     "--seed: must be an integer; allowed: 0..4611686018427387904; got: -1"),
    (["search", "--seed", "1", "--seed", "2"], "--seed: given more than once; got: 2"),
    (["search", "--db="], "--db: needs a value"),
    (["search", "--db"], "--db: needs a value"),
    (["search", "--workers", "8", "--data", "builtin"],
     "--workers: more trials at once than the lag of the study, which --lag sets when it is made; "
     "allowed: 1..4; got: 8"),
    (["search", "--workers", "2", "--threads", "2", "--data", "builtin"],
     "--threads: the CPU time of a trial is not known beside other trials; "
     "allowed: 1, or --workers 1; got: 2"),
    (["search"],
     "--data: is required; allowed: a text file, a directory, a .bin, or builtin"),
    (["search", "--evaluator", "command"], "--command: is required with --evaluator command"),
    (["search", "--data", "builtin", "--memory", "lots"],
     "--memory: must be a size; allowed: such as 512MiB or 20GiB; got: lots"),
    (["search", "--data", "builtin", "--batch", "16", "--micro-batch", "3"],
     "recipe:/micro_batch: must divide batch; allowed: divisors of 16; got: 3"),
    (["top", "--db", "missing.db"],
     "--db: there is no database; make one with 'moebius search' or 'moebius demo'; "
     "got: missing.db"),
    (["train", "dense-nano", "--data", "builtin", "-o", "out"],
     "--budget: give exactly one of --budget, --tokens and --steps; got: 0"),
    (["train", "dense-nano", "--data", "builtin", "--steps", "5", "-o", "taken"],
     "--out: is not a directory; got: taken"),
    (["train", "dense-nano", "--data", "builtin", "--steps", "5", "--vocab", "10", "-o", "out"],
     "--vocab: fewer than the corpus has; allowed: at least 256; got: 10"),
    (["export", "glam-nano", "-o", "taken"], "--out: is not a directory; got: taken"),
    (["export", "glam-nano", "-o", "."], "./glam-nano.json: exists already; --force replaces it"),
    (["export", "glam-nano", "--name", "../x"],
     None),
    (["eval", "nothing", "--data", "builtin"],
     "CHECKPOINT: no such file, folder or trial; got: nothing"),
    (["scale", "--to", "2B/64E"], None),
    (["data", "info", "missing.txt"], None),
    (["data", "info", "empty.txt"], None),
    (["search", "--data", "short.txt"], None),
    (["search", "--data", "builtin", "--study", "../../etc/x"], None),
    (["search", "--data", "builtin", "--study", "a\x1b[2Jb"], None),
    (["search", "--data", "builtin", "--budget", "20"], None),
    (["search", "--data", "builtin", "--budget", "0s"], None),
    (["search", "--data", "builtin", "--budget", "20s:virtual@h200"], None),
    (["search", "--data", "builtin", "--seed-from", "nothing.json"], None),
    (["search", "--data", "builtin", "--baseline", "glamm"], None),
    (["search", "--data", "builtin", "--space", "brainformer-nan"], None),
    (["space", "check", "deep.json"], None),
    (["space", "check", "."], None),
]

# A change of the space file and the pointer that the complaint must name.
SPACES = [
    ('"sublayers": 4', '"sublayers": "4"', "/block/sublayers"),
    ('"sublayers": 4', '"sublayers": 4.0', "/block/sublayers"),
    ('"sublayers": 4', '"sublayers": 4294967297', "/block/sublayers"),
    ('"sublayers": 4', '"sublayers": true', "/block/sublayers"),
    ('"sublayers": 4', '"sublayers": -1', "/block/sublayers"),
    ('"sublayers": 4, ', '', "/block"),
    ('[32, 48]', '[]', "/knobs/d_model"),
    ('[32, 48]', '[32, 32]', "/knobs/d_model"),
    ('[32, 48]', '[32, 1e308]', "/knobs/d_model"),
    ('"heads": 3', '"heds": 3', "/fixed/heds"),
    ('"rope"', '"ropes"', "/fixed/position"),
    ('"dense"', '"densse"', "/baseline"),
    ('"name": "s"', '"name": "../s"', "/name"),
    ('"name": "s"', '"name": "s", "name": "t"', "duplicate key"),
    ('"name": "s"', '"name": "s", "extra": 1', "/extra"),
    ('"nano"', '"mega"', "/scale"),
    ('moebius.space/1', 'moebius.space/9', "/format"),
    ('"baseline": "dense"}', '"baseline": "dense"} x', "s.json:"),
    ('"baseline": "dense"}', '"baseline": "dense",}', "s.json:"),
    ('{"format"', '{"n": NaN, "format"', "s.json:"),
]


def one_clean_line(done, name):
    """The form of every complaint."""
    text = done.stderr.decode()
    check(text.startswith("error: "), f"{name}: {text!r} does not start with 'error: '")
    check(done.stdout == b"", f"{name}: stdout {done.stdout[:100]!r}")
    for line in text.splitlines():
        check(line.startswith("error: ") and len(line.encode()) <= 512, f"{name}: line {line!r}")
        check(all(c >= " " for c in line), f"{name}: control characters in {line!r}")
    return text


def main():
    with workspace() as place:
        root = pathlib.Path(place)
        (root / "taken").write_text("a file")
        (root / "glam-nano.json").write_text("mine")
        (root / "empty.txt").write_text("")
        (root / "short.txt").write_text("hello")
        (root / "deep.json").write_text("[" * 100_000)
        (root / "s.json").write_text(SPACE)
        equal(run(root, "space", "check", "s.json", code=None).returncode, 0, "the space is good")
        before = fingerprint(root)
        for args, line in LINES:
            done = run(root, *args, code=2)
            text = one_clean_line(done, args)
            if line is not None:
                equal(text, f"error: {line}\n", args)
            equal(fingerprint(root), before, f"{args}: nothing is written")
        for old, new, pointer in SPACES:
            check(old in SPACE, f"{old} is in the space")
            (root / "s.json").write_text(SPACE.replace(old, new))
            for args in (["space", "check", "s.json"],
                         ["search", "--space", "s.json", "--data", "builtin"]):
                done = run(root, *args, code=2)
                text = one_clean_line(done, new)
                check(pointer in text, f"{new}: {pointer} not named in {text!r}")
                check("s.json:" in text, f"{new}: the file is not named in {text!r}")
            (root / "s.json").write_text(SPACE)
            equal(fingerprint(root), before, f"{new}: nothing is written")
        several = SPACE.replace('"heads": 3', '"heds": 3').replace('"rope"', '"ropes"')
        (root / "s.json").write_text(several)
        done = run(root, "space", "check", "s.json", code=2)
        check(len(done.stderr.splitlines()) >= 2, "every independent problem is reported")
        huge = run(root, "search", "--workers", "9" * 100_000, code=2)
        one_clean_line(huge, "a huge argument")
        binary = run(root, b"search", b"--study", b"\xff\xfe", "--data", "builtin", code=2)
        one_clean_line(binary, "an argument that is not UTF-8")
        shutil.rmtree(root / "runs", ignore_errors=True)
    finish()


main()
