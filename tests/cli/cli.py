"""What the end-to-end scripts share: running the binary and saying what went wrong."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

BINARY = os.path.abspath(sys.argv[1])
failures = []


def check(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what, file=sys.stderr)


def equal(got, expected, what):
    check(got == expected, f"{what}\n  expected: {expected!r}\n  got:      {got!r}")


def environment():
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LC_ALL", "LANG")}
    return env


def run(cwd, *args, code=0, timeout=120, variables=None, **options):
    """Runs the binary, with more variables in its environment; its exit code must be `code` (None: any)."""
    done = subprocess.run([BINARY, *map(str, args)], cwd=cwd, env=environment() | (variables or {}),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=timeout, **options)
    if code is not None and done.returncode != code:
        check(False, f"{' '.join(map(str, args))[:300]}: exit {done.returncode}, not {code}\n"
                     f"  {done.stderr.decode(errors='replace')[-2000:]}")
    return done


def rows(cwd, *args):
    """A listing as a list of dictionaries."""
    return json.loads(run(cwd, *args, "-f", "json").stdout)


def table_of(cwd, db, study):
    """What must not depend on workers, kills or stops."""
    keys = ("number", "role", "label", "state", "spec_hash", "seed", "loss", "stopped_loss",
            "parent", "operator", "result_hash")
    return [{key: row[key] for key in keys}
            for row in rows(cwd, "trials", "--db", db, "--study", study)]


def fingerprint(directory):
    """Every path below a directory with the hash of its contents."""
    result = {}
    for path in sorted(pathlib.Path(directory).rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_file() and not path.is_symlink():
            result[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            result[name] = "other"
    return result


def start(cwd, *args):
    return subprocess.Popen([BINARY, *map(str, args)], cwd=cwd, env=environment(),
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)


def interrupt_after(process, text, count=1, timeout=60):
    """Waits until stderr has shown `text` `count` times, sends SIGINT, returns all of stderr."""
    seen = b""
    deadline = time.monotonic() + timeout
    while seen.count(text) < count and time.monotonic() < deadline:
        line = process.stderr.readline()
        if not line:
            break
        seen += line
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=timeout)
    return seen + rest


def workspace():
    return tempfile.TemporaryDirectory(prefix="moebius-cli-")


def finish():
    if failures:
        print(f"{len(failures)} failed", file=sys.stderr)
        sys.exit(1)
    print("passed")
