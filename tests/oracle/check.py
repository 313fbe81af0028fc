#!/usr/bin/python3
"""The outside judge of the numerics: compares dumps of oracle_dump with the PyTorch twin.

check.py [--plant SLOT] DIR...

Every folder below a DIR that holds block.json and dump.safetensors is judged: the twin is built from
block.json, takes the dumped parameters, and must give the same logits, losses, routing counts and
gradients in float64, the same weights after some steps of the optimizer, and with those of the dump
the same causal losses. Exit 1 on a miss, 77 without torch. --plant changes one dumped gradient by a
millionth, so that exactly that one must miss.
"""
import json
import math
import os
import sys

try:
    import torch
except ImportError:
    print("skipped: this Python has no torch (Debian: python3-torch)")
    sys.exit(77)

from training import Trainer, accumulate, parts_of
from twin import Twin, read_safetensors, token_losses

TOLERANCE = 1e-8  # of the largest magnitude in a tensor


def causal_losses(twin, document, tokens, targets):
    with torch.no_grad():
        parts = zip(parts_of(tokens, document), parts_of(targets, document))
        return torch.cat([token_losses(twin.forward(part, "causal"), wanted) for part, wanted in parts])


def values_of(dump, kind):
    return {n[len(kind):]: t.clone() for n, t in dump.items() if n.startswith(kind)}


def compute(document, dump):
    """The twin's values under the names of the dump."""
    tokens, targets = dump["tokens"], dump["targets"]
    # One step without its update.
    values = values_of(dump, "value/")
    trained = {n: t.requires_grad_() for n, t in values.items() if not n.endswith(".threshold")}
    twin, result = Twin(document, values), {}
    step, result["loss"], logits = accumulate(twin, document, tokens, targets)
    result["logits"] = logits[0].flatten(0, 1)
    for name, value in step.items():
        result["step/" + name] = torch.tensor([[value]], dtype=torch.float64)
    for name, tensor in trained.items():
        unused = tensor.grad is None
        result["gradient/" + name] = torch.zeros_like(tensor) if unused else tensor.grad
    for name, tensor in twin.end_step().items():
        result["after/" + name] = tensor
    result["causal"] = causal_losses(twin, document, tokens, targets)
    # Some steps with their updates, from the same weights.
    twin = Twin(document, values_of(dump, "value/"))
    trainer, steps = Trainer(twin, document), dump["steps/tokens"].split(document["recipe"]["batch"])
    for t, targets_of_step in enumerate(dump["steps/targets"].split(document["recipe"]["batch"])):
        trainer.step(steps[t], targets_of_step, t, len(steps))
    for name, tensor in twin.values.items():
        result["trained/" + name] = tensor
    # The causal evaluation of what they made there, to the last digit.
    twin = Twin(document, values_of(dump, "trained/"))
    result["trained_causal"] = causal_losses(twin, document, tokens, targets)
    return result


def compare(name, ours, theirs):
    """Prints the worst tensor of each kind and every miss; returns the number of misses."""
    theirs = {n: t for n, t in theirs.items() if not n.startswith("value/")}
    for key in ("tokens", "targets", "steps/tokens", "steps/targets"):
        del theirs[key]
    misses = sorted(set(ours) ^ set(theirs))
    worst = {}
    for key in sorted(set(ours) & set(theirs)):
        same = ours[key].shape == theirs[key].shape
        error = float((ours[key] - theirs[key]).abs().max()) if same else math.inf
        error /= float(theirs[key].abs().max()) or 1.0
        if not error <= TOLERANCE:  # NaN misses too
            misses.append(key)
        kind = key.split("/")[0]
        worst[kind] = max(worst.get(kind, (-1.0, key)), (error, key))
    print(f"{name}: {len(theirs)} tensors, {len(misses)} missed")
    for kind, (error, key) in worst.items():
        print(f"  {kind:10} {error:9.2e}  {key}")
    for key in misses:
        print(f"  MISS {key}")
    return len(misses)


def main(arguments):
    plant = None
    if arguments[:1] == ["--plant"]:
        plant, arguments = arguments[1], arguments[2:]
    misses = 0
    directories = [path for top in arguments for path, _, files in os.walk(top) if "block.json" in files]
    for directory in sorted(directories):
        with open(os.path.join(directory, "block.json")) as file:
            document = json.load(file)
        dump = read_safetensors(os.path.join(directory, "dump.safetensors"))
        result = compute(document, dump)
        if plant:
            gradient = dump["gradient/" + plant].flatten()
            gradient[gradient.abs().argmax()] *= 1 + 1e-6
        misses += compare(document["name"], result, dump)
    print(f"{len(directories)} blocks, {misses} missed the tolerance of {TOLERANCE:g}")
    return 1 if misses or not directories else 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main(sys.argv[1:]))
