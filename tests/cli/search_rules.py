"""What a search refuses before it writes, and what it says of rules that it does not apply."""

from cli import check, equal, finish, fingerprint, run, workspace

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


def main():
    with workspace() as place:
        step_time(place)
        parallel(place)
    finish()


main()
