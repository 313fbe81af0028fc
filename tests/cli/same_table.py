"""The same seed gives the same trials for any number of workers, bit for bit."""

from cli import check, equal, finish, run, table_of, workspace


def tables(place, label, *options):
    result = []
    for workers in (1, 2, 3):
        db = f"{label}-{workers}.db"
        run(place, "search", "--space", "brainformer-nano", "--db", db, "--study", "s", "--seed",
            7, "--workers", workers, "-q", *options)
        result.append(table_of(place, db, "s"))
    return result


def main():
    with workspace() as place:
        one, two, three = tables(place, "synthetic", "--evaluator", "synthetic", "--trials", 150,
                             "--budget", "300ktok")
        equal(len([row for row in one if row["role"] == "search"]), 150, "search trials")
        check(two == one and three == one, "synthetic: 2 and 3 workers give the table of 1")
        real = tables(place, "real", "--data", "builtin", "--trials", 6, "--budget", "10ktok", "--batch", 4,
                      "--eval-tokens", 2048)
        done = [row for row in real[0] if row["state"] == "done"]
        check(len(done) >= 5, f"most trials really trained: {real[0]}")
        check(all(row["result_hash"] for row in done), "weights are hashed")
        check(real[1] == real[0] and real[2] == real[0], "training: 2 and 3 workers as 1")
    finish()


main()
