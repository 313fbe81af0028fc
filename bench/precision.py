#!/usr/bin/env python3
"""Loss curves in bf16 and fp32: is their difference smaller than the noise of the seeds?

    bench/precision.py --data TEXT --tokens 1.2M --seeds 1,2,3,4,5 --out bench/results/precision-nano.csv \
        dense-nano glam-nano

A row of the file is one point of a curve: block, precision, seed, step, valid_loss (nats per token, a fixed subset of
the validation split; the last one of each run is over eval_tokens). The summary names, for each block, the largest
difference of the means along the curve, the final one, and the standard deviation over seeds beside each.
"""
import argparse
import collections
import concurrent.futures
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile


def train(options, block, precision, seed):
    """-> [(step, validation loss)], ending with the final evaluation."""
    with tempfile.TemporaryDirectory() as directory:
        out = os.path.join(directory, "run")
        run = subprocess.run(
            [options.moebius, "train", block, "--data", options.data, "--tokens", options.tokens, "--seed", str(seed),
             "--precision", precision, "--no-weights", "-q", "-o", out], capture_output=True, text=True, check=True)
        points = [json.loads(line) for line in open(os.path.join(out, "train.jsonl"))]
        curve = [(p["step"], p["valid_loss"]) for p in points if p.get("valid_loss") is not None]
        final = float(re.search(r"validation loss ([0-9.]+)", run.stdout).group(1))
        return curve + [(curve[-1][0] + 1, final)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("blocks", nargs="+")
    parser.add_argument("--moebius", default="build/moebius")
    parser.add_argument("--data", required=True)
    parser.add_argument("--tokens", default="1.2M")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    jobs = [(block, precision, seed) for block in options.blocks for precision in ("fp32", "bf16") for seed in seeds]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        curves = list(pool.map(lambda job: train(options, *job), jobs))
    losses = collections.defaultdict(list)  # of all seeds, by block, precision, step
    with open(options.out, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["block", "precision", "seed", "step", "valid_loss"])
        for (block, precision, seed), curve in zip(jobs, curves):
            for step, loss in curve:
                writer.writerow([block, precision, seed, step, f"{loss:.4f}"])
                losses[block, precision, step].append(loss)
    for block in options.blocks:
        steps = sorted(step for name, precision, step in losses if name == block and precision == "fp32")
        points = []
        for step in steps:
            fp32, bf16 = losses[block, "fp32", step], losses[block, "bf16", step]
            noise = statistics.stdev(fp32) if len(fp32) > 1 else 0.0
            points.append((abs(statistics.mean(bf16) - statistics.mean(fp32)), noise, step))
        (most, noise, step), (last, last_noise, _) = max(points), points[-1]
        print(f"{block}: bf16 - fp32, means of {len(seeds)} seeds: at most {most:.4f} nats (step {step}, seed noise "
              f"{noise:.4f}), at the end {last:.4f} (seed noise {last_noise:.4f})", file=sys.stderr)


if __name__ == "__main__":
    main()
