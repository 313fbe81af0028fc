#!/usr/bin/env python3
"""Steps of a block here and in PyTorch, side by side: alternating runs, medians, repeated when others used the machine.

    bench/duel.py block.json --batch 4 --seq 256 --vocab 32000 --threads 2 --rounds 5

block.json is what `moebius export BLOCK` wrote. PyTorch runs with an allocator that keeps its memory (--stock: as
installed), which it is much faster with. --blis PATH preloads another BLAS. Prints one line per run and a summary:
tokens/s of both, the median of the ratios of neighbouring runs, and the share of the roofline measured in our runs.
"""
import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

KEEP_MEMORY = ("glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=8589934592:"
               "glibc.malloc.trim_threshold=34359738368:glibc.malloc.arena_max=1")
MOST_FOREIGN = 0.03  # of all processors


def busy():
    fields = open("/proc/stat").readline().split()[1:]
    ticks = os.sysconf("SC_CLK_TCK")
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6)) / ticks


def run(command, environment):
    """-> the JSON line, share of the machine that others used meanwhile."""
    own = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # noqa: E731
    begin, used, spent = time.time(), busy(), own()
    out = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout
    foreign = max(0, busy() - used - (own() - spent)) / (time.time() - begin) / os.cpu_count()
    return json.loads(out.strip().splitlines()[-1]), foreign


def quiet(command, environment, tries=4):
    for _ in range(tries):
        result, foreign = run(command, environment)
        print(f"  {result['tokens_per_s']:9.0f} tokens/s, foreign {foreign:.1%}  {command[0]}", file=sys.stderr)
        if foreign <= MOST_FOREIGN:
            return result
    sys.exit("the machine is too busy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("block")
    parser.add_argument("--moebius", default="build/moebius")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--vocab", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="bf16", help="ours")
    parser.add_argument("--dtype", default="bf16", help="PyTorch's")
    parser.add_argument("--stock", action="store_true")
    parser.add_argument("--blis", default="")
    options = parser.parse_args()
    shape = [f"--{name}={getattr(options, name)}" for name in ("batch", "seq", "vocab", "threads", "steps")]
    ours = [options.moebius, "bench", "step", "--model", options.block, f"--micro-batch={options.batch}", *shape,
            "--optimizer=adamw", f"--precision={options.precision}", "--roofline", "--json"]
    peer = [options.python, os.path.join(os.path.dirname(os.path.abspath(__file__)), "torch_step.py"), options.block,
            *shape, f"--dtype={options.dtype}"]
    environment = {} if options.stock else {"GLIBC_TUNABLES": KEEP_MEMORY}
    if options.blis:
        environment["LD_PRELOAD"] = options.blis
    pairs = [(quiet(ours, {}), quiet(peer, environment)) for _ in range(options.rounds)]
    median = lambda values: statistics.median(values)  # noqa: E731
    ratios = sorted(a["tokens_per_s"] / b["tokens_per_s"] for a, b in pairs)
    shares = sorted(a["roofline_share"] for a, _ in pairs)
    print(json.dumps({
        "model": pairs[0][0]["model"], "threads": options.threads, "ours": pairs[0][0]["precision"],
        "peer": options.dtype + (" stock" if options.stock else " tuned") + (" blis" if options.blis else ""),
        "rounds": options.rounds, "tokens_per_s": round(median([a["tokens_per_s"] for a, _ in pairs]), 1),
        "peer_tokens_per_s": round(median([b["tokens_per_s"] for _, b in pairs]), 1),
        "ratio": round(median(ratios), 3), "ratio_low": round(ratios[0], 3), "ratio_high": round(ratios[-1], 3),
        "roofline_share": round(median(shares), 3), "roofline_low": round(shares[0], 3),
        "roofline_high": round(shares[-1], 3), "peak_rss_mb": round(pairs[0][0]["peak_rss_mb"]),
        "peer_rss_mb": round(pairs[0][1]["peak_rss_mb"])}))


if __name__ == "__main__":
    main()
