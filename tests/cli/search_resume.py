"""SIGINT once: trials checkpoint, exit 130, and running again ends in the very same table."""

from cli import BINARY, check, equal, finish, interrupt_after, run, start, table_of, workspace

COMMON = ["search", "--data", "builtin", "--study", "s", "--seed", "3", "--trials", "6",
          "--workers", "2", "--budget", "15ktok", "--batch", "4", "--eval-tokens", "2048"]


def main():
    with workspace() as place:
        run(place, *COMMON, "--db", "whole.db")
        expected = table_of(place, "whole.db", "s")

        process = start(place, *COMMON, "--db", "cut.db")
        talk = interrupt_after(process, b"\ntrial ", count=4).decode()
        equal(process.returncode, 130, f"exit code after SIGINT\n{talk[-1500:]}")
        check("stopping: trials checkpoint" in talk, "says that it is stopping")
        check("; resume with: moebius search" in talk, "says how to go on")
        check(BINARY not in talk, "the command is named as it is typed")
        part = table_of(place, "cut.db", "s")
        ended = [row for row in part if row["state"] != "waiting"]
        check(0 < len(ended) < len(expected), f"stopped on the way: {len(ended)} trials")
        check(all(row["state"] != "running" for row in part), "nothing is left running")

        again = run(place, *COMMON, "--db", "cut.db")
        check(b"left" in again.stderr, "says how many are left")
        equal(table_of(place, "cut.db", "s"), expected, "the table of an uninterrupted run")
        equal(run(place, "check", "--db", "cut.db").stdout, b"sound\n", "check")

        other = run(place, *COMMON, "--db", "cut.db", "--warmup", 0.5, code=2)
        check(b"error: --warmup: study s was made with another; allowed: 0.05; got: 0.5" in
              other.stderr, f"names the difference: {other.stderr}")
        # More trials can be asked for; how it proposes stays as it was.
        run(place, "search", "--study", "s", "--db", "cut.db", "--trials", 8)
        longer = table_of(place, "cut.db", "s")
        equal(longer[:len(expected)], expected, "earlier trials stay as they were")
        searched = [row for row in longer if row["role"] == "search"]
        equal(len(searched), 8, "two more trials")
        roles = [row["role"] for row in expected]
        equal(roles.count("rerun"), 3, "the best block has fresh seeds")
    finish()


main()
