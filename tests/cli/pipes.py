"""Readers that go away, full disks, listings and formats."""

import csv
import io
import json
import subprocess

from cli import BINARY, check, environment, equal, finish, rows, run, workspace

SEARCH = ["search", "--evaluator", "synthetic", "--trials", "30", "--confirm", "0", "--budget", "300ktok", "--db", "r.db", "--study", "s"]


def main():
    with workspace() as place:
        line = subprocess.run(f"{BINARY} {' '.join(SEARCH)} 2>&1 | head -1; echo ${{PIPESTATUS[0]}}",
                              shell=True, cwd=place, executable="/bin/bash", env=environment(),
                              stdout=subprocess.PIPE, timeout=60)
        equal(line.stdout.splitlines()[-1], b"0", "the search does not die of its reader")
        trials = rows(place, "trials", "--db", "r.db")
        equal(len([row for row in trials if row["role"] == "search"]), 30, "trials in the database")

        full = run(place, "trials", "--db", "r.db", "-f", "json", code=0)
        with open("/dev/full", "wb") as disk:
            broken = subprocess.run([BINARY, "trials", "--db", "r.db"], cwd=place, stdout=disk,
                                    stderr=subprocess.PIPE, timeout=60)
        equal(broken.returncode, 3, "a full disk is a storage error")
        check(broken.stderr.startswith(b"error: stdout: "), broken.stderr)

        lines = run(place, "trials", "--db", "r.db", "-f", "jsonl").stdout.splitlines()
        equal([json.loads(line) for line in lines], json.loads(full.stdout), "jsonl as json")
        table = list(csv.DictReader(io.StringIO(
            run(place, "trials", "--db", "r.db", "-f", "csv").stdout.decode())))
        equal([row["spec_hash"] for row in table], [row["spec_hash"] for row in trials], "csv")
        marks = run(place, "top", "--db", "r.db", "-f", "markdown", "--limit", 3).stdout.decode()
        equal(len(marks.splitlines()), 5, "markdown: heading, rule and three rows")

        best = rows(place, "top", "--db", "r.db", "--where", "role = search", "--limit", 1)
        losses = [row["loss"] for row in trials if row["role"] == "search" and row["loss"]]
        equal(best[0]["loss"], min(losses), "the best search trial leads")
        sql = rows(place, "query", "--db", "r.db", "--sql", "select count(*) n from trial")
        equal(sql, [{"n": len(trials)}], "query")
        bad = run(place, "query", "--db", "r.db", "--sql", "delete from trial", code=2)
        check(bad.stderr.startswith(b"error: "), bad.stderr)
        equal(len(rows(place, "trials", "--db", "r.db")), len(trials), "nothing was deleted")

        show = run(place, "show", best[0]["number"], "--db", "r.db").stdout.decode()
        check("d_model" in show or "width" in show, show)
        shown = json.loads(run(place, "show", best[0]["number"], "--db", "r.db", "-f", "json").stdout)
        equal(shown["spec_hash"], best[0]["spec_hash"], "show -f json")
        studies = rows(place, "studies", "--db", "r.db")
        equal([(row["study"], row["trials"]) for row in studies], [("s", len(trials))], "studies")

        equal(json.loads(run(place, "version", "--json").stdout)["formats"][1], "moebius.block/1",
              "version")
        check(run(place, "--version").stdout.startswith(b"moebius "), "--version")
        check(b"SQLite" in run(place, "doctor").stdout, "doctor")
        check(b"moebius demo" in run(place).stdout, "no arguments: help")
    finish()


main()
