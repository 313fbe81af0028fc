#!/usr/bin/python3
"""The outside judge of the numerics: compares dumps of oracle_dump with the PyTorch twin.

check.py [--plant SLOT] DIR...

Every folder below a DIR that holds block.json and dump.safetensors is judged: the twin is built from
block.json, takes the dumped parameters, and must give the same logits, losses, routing counts and
gradients in float64. Exit 1 on a miss, 77 without torch. --plant changes one dumped gradient by a
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

from twin import Twin, read_safetensors, token_losses

TOLERANCE = 1e-8  # of the largest magnitude in a tensor


def parts_of(tensor, document):
    return tensor.long().split(document["recipe"]["micro_batch"])


def compute(document, dump):
    """The twin's values under the names of the dump."""
    values = {n[len("value/"):]: t for n, t in dump.items() if n.startswith("value/")}
    trained = {n: t.requires_grad_() for n, t in values.items() if not n.endswith(".threshold")}
    twin, recipe = Twin(document, values), document["recipe"]
    parts = list(zip(parts_of(dump["tokens"], document), parts_of(dump["targets"], document)))
    losses, result = [], {}
    step = dict.fromkeys(("loss", "aux", "z", "kept", "dropped"), 0.0)
    for tokens, targets in parts:
        logits = twin.forward(tokens, "train")
        losses.append(token_losses(logits, targets))
        terms = {"loss": losses[-1].mean(), "aux": twin.aux, "z": twin.z}
        terms = {name: term / len(parts) for name, term in terms.items()}
        (terms["loss"] + recipe["aux"] * terms["aux"] + recipe["z"] * terms["z"]).backward()
        terms.update(kept=twin.kept, dropped=twin.dropped)
        for name, term in terms.items():
            step[name] += float(term)
        result.setdefault("logits", logits.detach().flatten(0, 1))
    result["loss"] = torch.cat(losses).detach()
    for name, value in step.items():
        result["step/" + name] = torch.tensor([[value]], dtype=torch.float64)
    for name, tensor in trained.items():
        unused = tensor.grad is None
        result["gradient/" + name] = torch.zeros_like(tensor) if unused else tensor.grad
    for name, tensor in twin.state.items():
        result["after/" + name] = values[name] = tensor
    with torch.no_grad():
        causal = [token_losses(twin.forward(tokens, "causal"), targets) for tokens, targets in parts]
    result["causal"] = torch.cat(causal)
    return result


def compare(name, ours, theirs):
    """Prints the worst tensor of each kind and every miss; returns the number of misses."""
    theirs = {n: t for n, t in theirs.items() if not n.startswith("value/")}
    del theirs["tokens"], theirs["targets"]
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
