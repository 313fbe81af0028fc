#!/usr/bin/env python3
"""CPU time of a training step, one build of Moebius against another, run in turn.

    alternate.py OLD NEW --model dense-110m --precision bf16 [--rounds 7] [--steps 3] [--threads 1]

Every round runs OLD, OLD again and NEW, in each of their six orders in turn. What the two runs of OLD
differ by is what this machine cannot tell: NEW is called slower only beyond it and beyond 2 %.
Prints one line: medians and ranges of CPU seconds a step, by how much OLD differs from itself, NEW / OLD.
"""
import argparse
import itertools
import json
import statistics
import subprocess


def cpu_seconds(binary, args):
    command = [binary, "bench", "step", "--model", args.model, "--precision", args.precision,
               "--threads", str(args.threads), "--steps", str(args.steps), "--json"]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    result = json.loads(run.stdout)
    return result["cpu_s"], result["loss"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--model", required=True)
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    sides = [("old", args.old), ("again", args.old), ("new", args.new)]
    seconds = {name: [] for name, _ in sides}
    losses = {name: set() for name, _ in sides}
    orders = list(itertools.permutations(sides))
    for number in range(args.rounds):
        for name, binary in orders[number % len(orders)]:
            spent, loss = cpu_seconds(binary, args)
            seconds[name].append(spent)
            losses[name].add(loss)
    median = {name: statistics.median(values) for name, values in seconds.items()}
    noise = abs(median["again"] / median["old"] - 1)
    ratio = median["new"] / statistics.median(seconds["old"] + seconds["again"])
    same = losses["old"] | losses["again"] == losses["new"]
    figures = ", ".join(f"{name} {median[name]:.4f} s ({min(values):.4f} to {max(values):.4f})"
                        for name, values in seconds.items())
    print(f"{args.model} {args.precision}, {args.threads} thread(s), {args.rounds} rounds: {figures}; "
          f"old differs from itself by {noise:.1%}, new / old {ratio:.3f}, "
          f"{'slower' if ratio > 1 + max(0.02, noise) else 'not slower'}; "
          f"the loss is {'the same' if same else 'another'}", flush=True)


if __name__ == "__main__":
    main()
