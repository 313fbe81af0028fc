#!/usr/bin/python3
"""The peer of `moebius bench attention`: causal attention in PyTorch, forward and backward, as in torch_step.py.

    bench/torch_attention.py --batch 2 --seq 1024 --heads 12 --head-dim 64 --threads 1 --dtype bf16

Prints one JSON line with the median seconds of a forward and a backward pass.
"""
import argparse
import json
import math
import os
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--dtype", choices=["fp32", "bf16"], default="bf16")
parser.add_argument("--batch", type=int, default=2)
parser.add_argument("--seq", type=int, default=1024)
parser.add_argument("--heads", type=int, default=12)
parser.add_argument("--head-dim", type=int, default=64)
parser.add_argument("--repeats", type=int, default=20)
options = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(options.threads)

import torch  # noqa: E402  after the thread count
from torch.nn import functional as F  # noqa: E402

torch.set_num_threads(options.threads)
torch.manual_seed(1)
dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
shape = (options.batch, options.heads, options.seq, options.head_dim)
q, k, v = ((torch.rand(shape) - 0.5).to(dtype).requires_grad_() for _ in range(3))
grad = (torch.rand(shape) - 0.5).to(dtype)
mask = torch.full((options.seq, options.seq), -math.inf).triu(1)
times = []
for step in range(2 + options.repeats):
    begin = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16"):
        scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(options.head_dim))
        out = F.softmax(scores + mask.to(scores.dtype), dim=-1).to(dtype) @ v
    out.backward(grad)
    q.grad = k.grad = v.grad = None
    if step >= 2:
        times.append(time.perf_counter() - begin)
print(json.dumps({"precision": options.dtype, "threads": options.threads, "seconds": statistics.median(times)}))
