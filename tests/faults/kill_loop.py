#!/usr/bin/python3
"""Kills a search at random moments, again and again, and demands what was promised.

kill_loop.py MOEBIUS [--seconds S] [--seed N]

A study with the synthetic evaluator and two workers is started, stopped (mostly SIGKILL, sometimes
SIGINT or SIGTERM) after a random time, and started again until it is complete; then the next one.
After every stop the database is sound, its numbers are contiguous, and whatever was final before or
was reported as done is final with the same values. A complete study equals, trial by trial, one that
nobody disturbed, and every trial was finished once. Where strace works, system calls on the database
also fail: the search then goes on or ends with exit code 3 and one line, and can be finished later.
Exit 1 on a breach.
"""
import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

STUDY = ["--space", "brainformer-nano", "--evaluator", "synthetic", "--trials", "30",
         "--workers", "2", "--budget", "300ktok", "--seed", "7", "--study", "s"]
RESULTS = """
  SELECT number, role, label, state, spec_hash, parent, operator, seed, loss, stopped_loss, stopped_step
  FROM trials ORDER BY number"""
# "+": from that call on, as on a full disk; then the search cannot end well.
FAULTS = [("pwrite64:error=ENOSPC", "+"), ("fdatasync:error=EIO", "+"), ("fdatasync:error=EIO", ""),
          ("ftruncate:error=EIO", "")]


class Breach(Exception):
    pass


def demand(condition, text):
    if not condition:
        raise Breach(text)


class Search:
    """One database and the command that fills it."""

    def __init__(self, moebius, directory, milliseconds):
        self.directory = directory
        self.db = os.path.join(directory, "r.db")
        self.log = os.path.join(directory, "talk")
        self.command = [moebius, "search", *STUDY, "--db", self.db]
        self.environment = {**os.environ, "MOEBIUS_SYNTHETIC_MS": str(milliseconds)}
        self.final = {}  # number -> row, as last seen

    def start(self, prefix=()):
        with open(self.log, "w") as log:
            return subprocess.Popen([*prefix, *self.command], env=self.environment,
                                    cwd=self.directory, stdout=subprocess.DEVNULL, stderr=log,
                                    start_new_session=True)

    def talk(self):
        """What the last run said on stderr."""
        with open(self.log) as log:
            return log.read()

    def rows(self):
        """All trials, read from a copy: recovering the database is the program's own work."""
        if not os.path.exists(self.db):
            return []
        with tempfile.TemporaryDirectory(dir=self.directory) as copy:
            for name in os.listdir(self.directory):
                if name in ("r.db", "r.db-journal", "r.db-wal"):
                    shutil.copy(os.path.join(self.directory, name), copy)
            with contextlib.closing(sqlite3.connect(os.path.join(copy, "r.db"))) as db:
                integrity = db.execute("PRAGMA integrity_check").fetchall()
                demand(integrity == [("ok",)], f"integrity_check: {integrity}")
                tables = db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'trial'")
                if tables.fetchone() == (0,):
                    return []
                twice = db.execute("SELECT study, number FROM measurement GROUP BY 1, 2 "
                                   "HAVING count(*) > 1").fetchall()
                demand(not twice, f"trials finished twice: {twice}")
                return db.execute(RESULTS).fetchall()

    def inspect(self):
        rows = self.rows()
        numbers = [row[0] for row in rows]
        demand(numbers == list(range(len(rows))), f"numbers are not contiguous: {numbers}")
        now = {row[0]: row for row in rows if row[3] not in ("waiting", "running")}
        for number, row in self.final.items():
            demand(now.get(number) == row, f"trial {number} was {row}, is {now.get(number)}")
        for line in self.talk().splitlines():
            said = re.fullmatch(r"trial (\d+) .*done loss ([0-9.]+) .*", line)
            row = said and now.get(int(said[1]))
            demand(not said or (row and f"{row[8]:.4f}" == said[2]), f"said {line!r}, stored {row}")
        self.final = now
        return rows


def stop_after(process, seconds, how):
    """-> exit code; None when it was killed."""
    try:
        return process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, how)
        code = process.wait(timeout=30)
        return None if how == signal.SIGKILL else code


def disturb(search, rnd, expected, deadline):
    """Runs one study to its end under signals. -> number of signals that hit."""
    hits = 0
    while True:
        how = rnd.choice([signal.SIGKILL] * 6 + [signal.SIGINT, signal.SIGTERM])
        patience = rnd.uniform(0.005, 0.5) if time.monotonic() < deadline else 60
        code = stop_after(search.start(), patience, how)
        rows = search.inspect()
        if code == 0:
            demand(rows == expected, "a disturbed study differs from an undisturbed one")
            return hits
        demand(code in (None, 128 + how, -how), f"exit code {code} after {how.name}")
        hits += 1


def strace_works():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], check=False).returncode == 0


def break_storage(search, rnd, expected, fault, lasting):
    """Runs one study while a system call on its database fails, then to its end. -> exit code."""
    when = f"{rnd.randint(1, 12)}{lasting}"
    trace = ["strace", "-f", "-qq", "-o", os.devnull, "-P", search.db, "-P", search.db + "-journal",
             "-e", f"inject={fault}:when={when}"]
    code = search.start(trace).wait(timeout=120)
    errors = [line for line in search.talk().splitlines() if line.startswith("error: ")]
    demand(code == 3 or (code == 0 and not lasting),
           f"{fault} at call {when}: exit code {code}; {search.talk()}")
    demand(len(errors) == (code == 3), f"{fault} at call {when}: exit code {code}, {errors}")
    search.inspect()
    demand(search.start().wait() == 0, f"cannot go on after {fault} at call {when}: {search.talk()}")
    demand(search.inspect() == expected, f"{fault} at call {when} changed the results")
    return code


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("moebius")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rnd = random.Random(arguments.seed)
    moebius = os.path.abspath(arguments.moebius)
    with tempfile.TemporaryDirectory() as top:
        def search(name, milliseconds):
            directory = os.path.join(top, name)
            os.mkdir(directory)
            return Search(moebius, directory, milliseconds)

        calm = search("calm", 0)
        demand(calm.start().wait() == 0, "the undisturbed search failed")
        expected = calm.inspect()
        demand(sum(row[1] == "search" for row in expected) == 30, f"{len(expected)} trials")
        deadline = time.monotonic() + arguments.seconds
        studies = hits = 0
        while time.monotonic() < deadline:
            hits += disturb(search(f"killed{studies}", 40), rnd, expected, deadline)
            studies += 1
        print(f"{hits} signals over {studies} studies of {len(expected)} trials: none lost, none twice")
        if strace_works():
            codes = [break_storage(search(f"broken{i}", 0), rnd, expected, *fault)
                     for i, fault in enumerate(FAULTS)]
            print(f"{len(FAULTS)} storage faults, exit codes {codes}: none lost, none twice")
        else:
            print("no strace here: storage faults not tried")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Breach as breach:
        print(f"BREACH: {breach}")
        sys.exit(1)
