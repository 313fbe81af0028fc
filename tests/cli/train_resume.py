"""SIGKILL: `train` goes on from its last checkpoint and ends in the very same weights."""

import json
import pathlib
import random
import shutil
import struct
import time

from cli import check, equal, finish, run, start, workspace

COMMON = ["--data", "builtin", "--eval-tokens", 4096]


def command(steps):
    return ["train", "dense-nano", *COMMON, "--steps", steps, "--checkpoint-every", 0.02]


def metadata(path):
    with open(path, "rb") as file:
        size, = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(size))["__metadata__"]


def curve(folder):
    return [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]


def killed(place, steps):
    """A run, killed when its checkpoint has a part of the curve: that part; None: it had ended."""
    process = start(place, *command(steps), "-o", "cut")
    checkpoint = pathlib.Path(place) / "cut/resume.safetensors"
    points = []
    while not points and process.poll() is None:
        if checkpoint.exists():
            points = json.loads(metadata(checkpoint)["training"])["curve"]
        time.sleep(0.005)
    process.kill()
    process.communicate()
    if process.returncode == 0:
        return None
    shutil.copy(checkpoint, pathlib.Path(place) / "kept")
    check(process.returncode == -9 and points, "killed after a checkpoint")
    return points


def resuming(place):
    whole, cut = pathlib.Path(place) / "whole", pathlib.Path(place) / "cut"
    for steps in (160, 1600, 16000):  # a fast machine may be done before it is looked at
        before = killed(place, steps)
        if before is not None:
            break
        shutil.rmtree(cut)
    check(before, "a run that could be killed")
    run(place, *command(steps), "-o", "whole")
    check(not (cut / "model.safetensors").exists(), "killed before the end")
    run(place, *command(steps), "-o", "cut")
    equal((cut / "model.safetensors").read_bytes(), (whole / "model.safetensors").read_bytes(),
          "a killed run ends in the same weights")
    after = curve(cut)
    # CPU seconds are never measured twice alike: those points were not trained again.
    equal([point["cpu_seconds"] for point in after[:len(before)]],
          [point["cpu_seconds"] for point in before], "goes on where the checkpoint is")
    for points in (after, expected := curve(whole)):
        for point in points:
            del point["cpu_seconds"]
    equal(after, expected, "the same curve")
    check(not (cut / "resume.safetensors").exists(), "no checkpoint is left")

    (cut / "train.jsonl").unlink()  # killed after the weights, before the curve
    shutil.copy(pathlib.Path(place) / "kept", cut / "resume.safetensors")
    run(place, *command(steps), "-o", "cut")
    equal(len(curve(cut)), len(expected), "a run killed at its very end is ended")


def equal_flops(place):
    def width(folder):
        block = json.loads((pathlib.Path(place) / folder / "block.json").read_text())
        return {sublayer["d_ffn"] for sublayer in block["sublayers"] if "d_ffn" in sublayer}

    short = ["--steps", 1, "--no-weights"]
    run(place, "train", "dense-nano", *COMMON, *short, "-o", "plain")
    for like, same in (("dense-nano", True), ("glam-nano", False)):
        run(place, "train", "dense-nano", *COMMON, *short, "--iso-flops", like, "-o", like)
        equal(width(like) == width("plain"), same, f"widths at the active FLOPs of {like}")


def foreign_tokens(place):
    """A model of tokens without their tokenizer says so instead of talking nonsense."""
    draw = random.Random(1)
    tokens = [draw.randrange(50257) for _ in range(40000)]
    header = [20240520, 1, len(tokens)] + [0] * 253
    path = pathlib.Path(place) / "foreign.bin"
    path.write_bytes(struct.pack("<256i", *header) + struct.pack(f"<{len(tokens)}H", *tokens))
    (pathlib.Path(place) / "text.txt").write_text("a line of text\n\n" * 4000)
    run(place, "train", "dense-nano", "--data", path, "--steps", 1, "--eval-tokens", 1, "-o",
        "foreign")
    for command in (["sample", "foreign"], ["eval", "foreign", "--data", "text.txt"]):
        refused = run(place, *command, code=2)
        check(b"the model's tokens came without their tokenizer" in refused.stderr, refused.stderr)
        equal(refused.stdout, b"", "nothing is printed")
    run(place, "sample", "foreign", "--tokenizer", "bytes", "--tokens", 2)


def main():
    with workspace() as place:
        resuming(place)
        equal_flops(place)
        foreign_tokens(place)
    finish()


main()
