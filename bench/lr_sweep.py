#!/usr/bin/env python3
"""Learning-rate sweep per family: where the rates of the shipped presets come from.

    bench/lr_sweep.py --moebius build/moebius --data TEXT --tokens 600k --out bench/results/lr-nano.csv \
        dense-nano glam-nano brainformer-1-nano

Every block is trained at every rate with every seed; a row is one run: block, lr, seed, tokens, loss (nats per token,
causal validation loss; empty when the run diverged). The last lines on stderr name the best rate of each block.
"""
import argparse
import collections
import concurrent.futures
import csv
import os
import re
import subprocess
import sys
import tempfile


def train(moebius, data, tokens, block, rate, seed, extra):
    with tempfile.TemporaryDirectory() as directory:
        run = subprocess.run(
            [moebius, "train", block, "--data", data, "--tokens", tokens, "--lr", repr(rate), "--seed", str(seed),
             "--no-weights", "-q", "-o", os.path.join(directory, "run"), *extra],
            capture_output=True, text=True)
        result = re.search(r"validation loss ([0-9.]+)", run.stdout)
        if run.returncode or not result:
            print(f"{block} lr {rate:g} seed {seed}: exit {run.returncode} {run.stderr.strip()}", file=sys.stderr)
            return None
        return float(result.group(1))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blocks", nargs="+")
    parser.add_argument("--moebius", default="build/moebius")
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokens", default="600k")
    parser.add_argument("--rates", default="0.0025,0.005,0.01,0.02,0.04")
    parser.add_argument("--seeds", default="1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", required=True)
    parser.add_argument("--extra", default="", help="more options of `moebius train`")
    options = parser.parse_args()
    rates = [float(rate) for rate in options.rates.split(",")]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    jobs = [(block, rate, seed) for block in options.blocks for rate in rates for seed in seeds]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        losses = list(pool.map(
            lambda job: train(options.moebius, options.data, options.tokens, *job, options.extra.split()), jobs))
    means = collections.defaultdict(lambda: collections.defaultdict(list))
    with open(options.out, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["block", "lr", "seed", "tokens", "loss"])
        for (block, rate, seed), loss in zip(jobs, losses):
            writer.writerow([block, f"{rate:g}", seed, options.tokens, "" if loss is None else f"{loss:.4f}"])
            means[block][rate].append(float("inf") if loss is None else loss)
    for block, by_rate in means.items():
        best = min(by_rate, key=lambda rate: sum(by_rate[rate]))
        print(f"{block}: best lr {best:g}, mean loss {sum(by_rate[best]) / len(seeds):.4f}", file=sys.stderr)


if __name__ == "__main__":
    main()
