"""The splits of a corpus against another implementation of docs/conventions.md, from its words alone."""

import json
import os
import pathlib
import random
import struct

from cli import check, equal, finish, run, workspace

MASK = (1 << 64) - 1
SEGMENT = 8192
WHITE = b" \t\r\v\f"


def swap32(x):
    return struct.unpack("<I", struct.pack(">I", x & 0xFFFFFFFF))[0]


def rotate(x, bits):
    return ((x << bits) | (x >> (64 - bits))) & MASK


def xxh3_64_of_8(number, seed):
    """XXH3-64 of 8 bytes, little-endian (specification of xxHash, inputs of 4 to 8 bytes)."""
    secret = bytes.fromhex("7c01812cf721ad1cded46de9839097db")  # its bytes 8 to 23
    first, second = struct.unpack("<QQ", secret)
    data = struct.pack("<Q", number)
    low, high = struct.unpack("<II", data)
    seed ^= swap32(seed) << 32
    mixed = ((first ^ second) - seed) & MASK
    x = (high + (low << 32)) ^ mixed
    x ^= rotate(x, 49) ^ rotate(x, 24)
    x = x * 0x9FB21C651E98DF25 & MASK
    x ^= (x >> 35) + 8
    x = x * 0x9FB21C651E98DF25 & MASK
    return x ^ (x >> 28)


def lines_of(text):
    lines = text.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [lines[-1]] * (lines[-1] != b"")


def documents_of(text):
    documents, blank, seen = [b""], False, False
    for line in lines_of(text):
        if line.rstrip(b"\n").strip(WHITE) == b"":
            blank = True
        else:
            if blank and seen:
                documents.append(b"")
            blank, seen = False, True
        documents[-1] += line
    return documents


def splits_of(documents, deal=0):
    """-> (texts of train, validation and test, segments of each)"""
    units = documents if len(documents) > 1 else lines_of(documents[0])
    segments = [b""]
    for unit in units:
        if len(segments[-1]) >= SEGMENT:
            segments.append(b"")
        segments[-1] += unit
    order = sorted(range(len(segments)), key=lambda number: xxh3_64_of_8(number, deal))
    held_out = -(-len(segments) * 5 // 100)
    test, validation = order[:held_out], order[held_out:2 * held_out]
    train = order[2 * held_out:]
    return ([b"".join(segments[i] for i in sorted(part)) for part in (train, validation, test)],
            [len(train), len(validation), len(test)])


def tokens_of(path):
    data = path.read_bytes()
    magic, version, count = struct.unpack("<3i", data[:12])
    check((magic, version, len(data)) == (20240520, 1, 1024 + 2 * count), f"{path.name}: header")
    return bytes(struct.unpack(f"<{count}H", data[1024:]))


def agree(place, source, documents, deal=0):
    texts, segments = splits_of(documents, deal)
    run(place, "data", "prepare", source, "-o", "out/x", "--deal", deal)
    for split, text in zip(("train", "val", "test"), texts):
        got = tokens_of(pathlib.Path(place) / f"out/x_{split}.bin")
        check(got == text, f"{source}, deal {deal}, {split}: {len(got)} bytes, expected {len(text)}")
    info = json.loads(run(place, "data", "info", "out/x_train.bin", "--json").stdout)
    direct = json.loads(run(place, "data", "info", source, "--json").stdout)
    for name, text, count in zip(("train", "validation", "test"), texts, segments):
        equal(info["splits"][name]["segments"], count, f"{source}: segments of {name}")
        equal(info["splits"][name]["bytes"], len(text), f"{source}: bytes of {name}")
        equal(info["splits"][name]["documents"], len(documents_of(text)), f"{source}: {name}")
        equal(info["unigram_cross_entropy"][name][name] > 0, True, "nats")
    if deal == 0 and not os.path.isdir(pathlib.Path(place) / source) and source.endswith(".txt"):
        equal(direct["hash"], info["hash"], f"{source}: the text and its tokens are one corpus")
    return direct


def generated(seed, blanks):
    rng = random.Random(seed)
    text = bytearray(rng.choice([b"", b"\n \n"]))
    while len(text) < 400_000:
        text += bytes(rng.randrange(33, 127) for _ in range(rng.randrange(1, 70)))
        text += rng.choice([b"\n", b" \n", b"\r\n", b"\n\t"])
        if rng.random() < 0.2:
            text += rng.choice(blanks)
        if rng.random() < 0.001:
            text += b"long " * rng.randrange(4000)
    return bytes(text)


def main():
    with workspace() as place:
        root = pathlib.Path(place)
        for seed in range(3):
            text = generated(seed, [b"\n", b" \n", b"\t\r\v\f\n\n", b"\n  \n", b"\r\n", b" \n   "])
            (root / f"g{seed}.txt").write_bytes(text)
            check(len(documents_of(text)) > 100, "documents")
            agree(place, f"g{seed}.txt", documents_of(text), deal=seed)
        text = generated(9, [b" "])
        (root / "lines.txt").write_bytes(text)
        equal(len(documents_of(text)), 1, "no documents")
        agree(place, "lines.txt", documents_of(text))
        rows = [f"row {i}\n\nof two paragraphs \u00e9 " + "x" * (i * 37 % 900) for i in range(500)]
        (root / "j.jsonl").write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
        documents = [row.encode() + b"\n\n" for row in rows]
        texts, segments = splits_of(documents)
        run(place, "data", "prepare", "j.jsonl", "-o", "out/j")
        for split, text in zip(("train", "val", "test"), texts):
            check(tokens_of(root / f"out/j_{split}.bin") == text, f"JSONL, {split}")
        (root / "d").mkdir()
        (root / "d/b.txt").write_bytes(documents[0] * 300)
        (root / "d/a.txt").write_bytes(b"without an end " * 1000)
        documents = [b"without an end " * 1000] + documents_of(documents[0] * 300)
        texts, segments = splits_of(documents)
        run(place, "data", "prepare", "d", "-o", "out/d")
        for split, text in zip(("train", "val", "test"), texts):
            check(tokens_of(root / f"out/d_{split}.bin") == text, f"directory, {split}")

        shared = pathlib.Path(os.environ.get("MOEBIUS_SHARED", "nowhere")) / "data/corpora"
        files = sorted(shared.glob("*.txt"))
        if not files:
            print("skipped: no shared corpora (set MOEBIUS_SHARED)")
        for path in files:
            info = agree(place, str(path), documents_of(path.read_bytes()))
            nats = info["unigram_cross_entropy"]
            check(abs(nats["test"]["train"] - nats["validation"]["train"]) < 0.1, f"{path.name}: {nats}")
    finish()


if __name__ == "__main__":
    main()
