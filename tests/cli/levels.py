"""Every instruction level that this machine offers trains a block in both precisions, and is named."""

import json
import pathlib

from cli import check, environment, equal, finish, fingerprint, run, workspace

BLOCK = ("train", "glam-nano", "--data", "builtin", "--steps", "3", "--batch", "2", "--eval-tokens", "256")


def at(level):
    return {"MOEBIUS_LEVEL": level}


def trained(place, level, precision):
    out = f"{level}-{precision}"
    run(place, *BLOCK, "--precision", precision, "-o", out, "-q", variables=at(level))
    with open(place / out / "train.jsonl", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines][-1]["valid_loss"]


def main():
    with workspace() as name:
        place = pathlib.Path(name)
        offered = json.loads(run(place, "version", "--json", variables=at("")).stdout)["instruction_levels"]
        check(offered, "a level is offered")
        if not environment().get("MOEBIUS_LEVEL"):
            equal(json.loads(run(place, "version", "--json").stdout)["instruction_level"], offered[-1],
                  "the highest level is the one in use")
        # In the kernel's words. It may keep AMX's tiles from a process.
        flags = next((set(line.split()) for line in open("/proc/cpuinfo", encoding="utf-8")
                      if line.startswith("flags")), set())
        for level, needed in (("sse4", {"sse4_2", "aes", "pclmulqdq"}), ("avx2", {"avx2", "fma", "bmi2", "f16c"}),
                              ("avx512", {"avx512bw", "avx512dq", "avx512vl"}), ("avx512-bf16", {"avx512_bf16"})):
            equal(level in offered, needed <= flags, f"{level} is offered where the processor has {needed}")

        for precision, apart in (("fp32", 1e-4), ("bf16", 2e-2)):
            losses = [trained(place, level, precision) for level in offered]
            for level, loss in zip(offered, losses):
                check(abs(loss - losses[0]) < apart, f"{precision} at {level}: loss {loss}, not {losses[0]}")
        for level in offered:
            about = run(place, "doctor", "--db", "d.db", variables=at(level)).stdout.decode()
            check(f"{level} (MOEBIUS_LEVEL); this machine offers {', '.join(offered)}\n" in about, about)

        check(b"MOEBIUS_LEVEL" not in run(place, "doctor", "--db", "d.db", variables=at("")).stdout,
              "an empty name asks for no level")

        before = fingerprint(place)
        for wrong in ("avx1", "AVX2", "amx2"):
            done = run(place, *BLOCK, "-o", "wrong", code=2, variables=at(wrong))
            equal(done.stderr.decode(), "error: MOEBIUS_LEVEL: this machine offers no such instruction level; "
                  f"allowed: {', '.join(offered)}; got: {wrong}\n", "the line names what is allowed")
        equal(fingerprint(place), before, "nothing is written")
    finish()


main()
