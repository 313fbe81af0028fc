#!/usr/bin/env python3
"""Steps of a block here and in PyTorch, side by side: alternating runs, medians, repeated when others used the machine.

    bench/duel.py block.json --batch 4 --seq 256 --vocab 32000 --threads 2 --rounds 5

block.json is what `moebius export BLOCK` wrote. PyTorch runs with an allocator that keeps its memory (--stock: as
installed), which it is much faster with. --blis PATH preloads another BLAS. --processes N runs N of each at the same
time, each on a processor of its own, and adds their tokens/s. --peer-block BLOCK gives PyTorch another block: one with
slots (it computes all of them, empty or not) against ours without ("capacity": "none", no pair is dropped). --attention
compares causal attention alone (moebius bench attention, torch_attention.py; --batch, --seq, --heads, --head-dim) in
passes per second. Prints one line per run and a summary: tokens/s of both, the median of the ratios of neighbouring runs,
and the share of the roofline measured in our runs.
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


def run(command, environment, processes):
    """-> the JSON lines, share of the machine that others used meanwhile."""
    own = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])  # noqa: E731
    begin, used, spent = time.time(), busy(), own()
    pin = lambda i: ["taskset", "-c", str(i)] if processes > 1 else []  # noqa: E731
    running = [subprocess.Popen(pin(i) + command, env={**os.environ, **environment}, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True) for i in range(processes)]
    texts = [process.communicate() for process in running]
    for process, (_, error) in zip(running, texts):
        if process.returncode:
            sys.exit(f"{' '.join(command)}: exit {process.returncode}\n{error}")
    foreign = max(0, busy() - used - (own() - spent)) / (time.time() - begin) / os.cpu_count()
    return [json.loads(out.strip().splitlines()[-1]) for out, _ in texts], foreign


def quiet(command, environment, processes, tries=4):
    for _ in range(tries):
        results, foreign = run(command, environment, processes)
        result = results[0]
        result["rate"] = sum(r["tokens_per_s"] if "tokens_per_s" in r else 1 / r["seconds"] for r in results)
        print(f"  {result['rate']:9.1f} /s, foreign {foreign:.1%}  {command[0]}", file=sys.stderr)
        if foreign <= MOST_FOREIGN:
            return result
    sys.exit("the machine is too busy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("block", nargs="?")
    parser.add_argument("--peer-block", default="")
    parser.add_argument("--attention", action="store_true")
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--processes", type=int, default=1)
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
    here = os.path.dirname(os.path.abspath(__file__))
    given = lambda *names: [f"--{name}={getattr(options, name.replace('-', '_'))}" for name in names]  # noqa: E731
    if options.attention:
        shape = given("batch", "seq", "heads", "head-dim", "threads")
        ours = [options.moebius, "bench", "attention", *shape, f"--precision={options.precision}", "--json"]
        peer = [options.python, os.path.join(here, "torch_attention.py"), *shape, f"--dtype={options.dtype}"]
    else:
        shape = given("batch", "seq", "vocab", "threads", "steps")
        ours = [options.moebius, "bench", "step", "--model", options.block, f"--micro-batch={options.batch}", *shape,
                "--optimizer=adamw", f"--precision={options.precision}", "--json"]
        ours += ["--roofline"] if options.processes == 1 else []
        peer = [options.python, os.path.join(here, "torch_step.py"), options.peer_block or options.block, *shape,
                f"--dtype={options.dtype}"]
    environment = {} if options.stock else {"GLIBC_TUNABLES": KEEP_MEMORY}
    if options.blis:
        environment["LD_PRELOAD"] = options.blis
    pairs = [(quiet(ours, {}, options.processes), quiet(peer, environment, options.processes))
             for _ in range(options.rounds)]
    ratios = sorted(a["rate"] / b["rate"] for a, b in pairs)
    result = {"model": pairs[0][0].get("model", "attention"), "threads": options.threads,
              "processes": options.processes, "ours": pairs[0][0]["precision"],
              "peer": options.dtype + (" stock" if options.stock else " tuned") + (" blis" if options.blis else ""),
              "rounds": options.rounds, "rate": round(statistics.median(a["rate"] for a, _ in pairs), 1),
              "peer_rate": round(statistics.median(b["rate"] for _, b in pairs), 1),
              "ratio": round(statistics.median(ratios), 3), "ratio_low": round(ratios[0], 3),
              "ratio_high": round(ratios[-1], 3)}
    if "roofline_share" in pairs[0][0]:
        shares = sorted(a["roofline_share"] for a, _ in pairs)
        result.update(roofline_share=round(statistics.median(shares), 3), roofline_low=round(shares[0], 3),
                      roofline_high=round(shares[-1], 3))
    if "peak_rss_mb" in pairs[0][0]:
        result.update(peak_rss_mb=round(pairs[0][0]["peak_rss_mb"]), peer_rss_mb=round(pairs[0][1]["peak_rss_mb"]))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
