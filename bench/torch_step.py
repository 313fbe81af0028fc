#!/usr/bin/python3
"""The speed peer: optimizer steps of a Moebius block in PyTorch, written for speed as a PyTorch user would.

    bench/torch_step.py block.json --threads 2 --dtype bf16 --batch 4 --seq 256 --vocab 32000 --steps 5

block.json is a moebius.block/1 file. Prints one JSON line like `moebius bench step --json`. bf16 is autocast with fp32
master weights. Experts are batched products over padded slots, dispatch is by index. Blocks with relative bias, RoPE,
learned or no positions; ungrouped experts of Top-2, top-1 and Expert Choice per sequence.
"""
import argparse
import json
import math
import os
import resource
import statistics
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("block")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
parser.add_argument("--batch", type=int, default=4)
parser.add_argument("--seq", type=int, default=256)
parser.add_argument("--vocab", type=int, default=256)
parser.add_argument("--steps", type=int, default=5)
parser.add_argument("--warmup", type=int, default=2)
options = parser.parse_args()
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = str(options.threads)

import torch  # noqa: E402  after the thread counts
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

torch.set_num_threads(options.threads)
torch.manual_seed(1)
ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu, "silu": F.silu, "squared_relu": lambda x: F.relu(x).square()}


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm = nn.LayerNorm(width)  # fused in this PyTorch, unlike an RMSNorm of single operations

    def forward(self, x):
        return self.norm(x)


class Attention(nn.Module):
    def __init__(self, sub, width):
        super().__init__()
        self.heads, self.head_dim, self.position = sub["heads"], sub["head_dim"], sub.get("position", "relative_bias")
        inner = self.heads * self.head_dim
        self.qkv, self.out = nn.Linear(width, 3 * inner, bias=False), nn.Linear(inner, width, bias=False)
        seq = options.seq
        self.register_buffer("mask", torch.full((seq, seq), -math.inf).triu(1))
        if self.position == "relative_bias":
            self.bias = nn.Parameter(torch.zeros(32, self.heads))
            distance = (torch.arange(seq)[:, None] - torch.arange(seq)[None, :]).clamp(min=0)
            far = 16 + (torch.log(distance.clamp(min=1) / 16.0) / math.log(8) * 16).long()
            self.register_buffer("buckets", torch.where(distance < 16, distance, far.clamp(max=31)))
        if self.position == "rope":
            angle = torch.arange(seq)[:, None] * 10000.0 ** (-torch.arange(0, self.head_dim, 2) / self.head_dim)
            self.register_buffer("cos", angle.cos().repeat_interleave(2, -1))
            self.register_buffer("sin", angle.sin().repeat_interleave(2, -1))

    def turn(self, x):
        swapped = torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
        return x * self.cos + swapped * self.sin

    def forward(self, h):
        batch, seq, _ = h.shape
        q, k, v = self.qkv(h).view(batch, seq, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        if self.position == "rope":
            q, k = self.turn(q), self.turn(k)
        scores = q @ k.transpose(-2, -1) * (1 / math.sqrt(self.head_dim))
        mask = self.mask
        if self.position == "relative_bias":
            mask = mask + self.bias[self.buckets].permute(2, 0, 1)
        weights = F.softmax(scores + mask.to(scores.dtype), dim=-1)
        return self.out((weights @ v).transpose(1, 2).reshape(batch, seq, -1))


class Hidden(nn.Module):
    """Activation between two products; `experts` of them as batched products."""

    def __init__(self, sub, width, hidden, experts=0):
        super().__init__()
        self.gated = sub["activation"].startswith("gated_")
        self.activation = ACTIVATIONS[sub["activation"].removeprefix("gated_")]
        shape = (experts,) if experts else ()
        names = ("up", "gate") if self.gated else ("up",)
        for name in names:
            setattr(self, name, nn.Parameter(torch.randn(*shape, width, hidden) / math.sqrt(width)))
        self.down = nn.Parameter(torch.randn(*shape, hidden, width) / math.sqrt(hidden))

    def forward(self, h):
        up = h @ self.up
        hidden = self.activation(h @ self.gate) * up if self.gated else self.activation(up)
        return hidden @ self.down


class Experts(nn.Module):
    def __init__(self, sub, width):
        super().__init__()
        self.gating, self.count, self.capacity = sub["gating"], sub["experts"], sub["capacity"]
        assert sub.get("group", "sequence") in ("sequence", "batch"), "groups are sequences or the batch here"
        self.whole = sub.get("group", "sequence") == "batch"
        self.router = nn.Linear(width, self.count, bias=False)
        self.hidden = Hidden(sub, width, sub["d_moe"], self.count)

    def forward(self, h):
        batch, seq, width = h.shape
        x = h.reshape(-1, width)
        with torch.autocast("cpu", enabled=False):
            probs = F.softmax(F.linear(x.float(), self.router.weight), -1)
        groups = 1 if self.whole else batch
        size = batch * seq // groups
        return (self.choose_tokens if self.gating == "expert_choice" else self.choose_experts)(
            x, probs, groups, size).view(batch, seq, width)

    def choose_tokens(self, x, probs, groups, size):
        slots = max(1, round(self.capacity * size / self.count))
        gate, index = torch.topk(probs.view(groups, size, self.count).transpose(1, 2), slots, -1)  # [g, E, C]
        token = (index + torch.arange(groups)[:, None, None] * size).transpose(0, 1).reshape(-1)  # by expert
        y = self.hidden(x.index_select(0, token).view(self.count, groups * slots, -1)).reshape(len(token), -1)
        gate = gate.transpose(0, 1).reshape(-1, 1).to(y.dtype)
        return torch.zeros(len(x), y.shape[1], dtype=y.dtype).index_add_(0, token, y * gate)

    def choose_experts(self, x, probs, groups, size):
        k = {"top1": 1, "top2": 2}[self.gating]
        gates, chosen = torch.topk(probs, k, -1)
        if k > 1:
            gates = gates / gates.sum(-1, keepdim=True)
        rows = len(x)
        slots = size if self.capacity == "none" else round(self.capacity * size / self.count)
        with torch.no_grad():
            group = torch.arange(rows).repeat(k) // size
            queue = chosen.t().reshape(-1) * groups + group  # one queue per expert and group, first choices first
            ordered, order = torch.sort(queue, stable=True)
            start = torch.searchsorted(ordered, torch.arange(self.count * groups))
            place = torch.empty_like(queue)
            place[order] = torch.arange(k * rows) - start[ordered]
            nowhere = self.count * groups * slots
            slot = torch.where(place < slots, queue * slots + place, torch.full_like(place, nowhere))
            token = torch.full((nowhere + 1,), rows)
            token[slot] = torch.arange(k * rows) % rows
        padded = torch.cat([x, x.new_zeros(1, x.shape[1])])
        y = self.hidden(padded.index_select(0, token[:-1]).view(self.count, groups * slots, -1))
        y = torch.cat([y.reshape(nowhere, -1), y.new_zeros(1, y.shape[-1])])
        gate = gates.t().reshape(-1, 1).to(y.dtype)
        return (y.index_select(0, slot) * gate).view(k, rows, -1).sum(0)


class Model(nn.Module):
    def __init__(self, block):
        super().__init__()
        width = block["d_model"]
        self.table = nn.Embedding(options.vocab, width)
        nn.init.normal_(self.table.weight, std=0.02)
        learned = any(sub.get("position") == "learned" for sub in block["sublayers"])
        self.positions = nn.Parameter(torch.randn(options.seq, width) * 0.02) if learned else None
        make = {"attn": Attention, "moe": Experts, "ffn": lambda sub, d: Hidden(sub, d, sub["d_ffn"])}
        layers = [make[sub["type"]](sub, width) for _ in range(block["stacks"]) for sub in block["sublayers"]]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(Norm(width) for _ in range(len(layers) + 1))

    def forward(self, tokens, targets):
        x = self.table(tokens)
        if self.positions is not None:
            x = x + self.positions
        for norm, layer in zip(self.norms, self.layers):
            x = x + layer(norm(x))
        logits = F.linear(self.norms[-1](x), self.table.weight)
        return F.cross_entropy(logits.view(-1, options.vocab).float(), targets.view(-1))


def main():
    with open(options.block) as file:
        block = json.load(file)
    model = Model(block.get("block", block))
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1, foreach=False)
    tokens = torch.randint(options.vocab, (options.batch, options.seq))
    targets = tokens.roll(-1)
    times = []
    for step in range(options.warmup + options.steps):
        begin = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.dtype == "bf16"):
            loss = model(tokens, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step >= options.warmup:
            times.append(time.perf_counter() - begin)
    seconds = statistics.median(times)
    print(json.dumps({
        "model": block.get("name", os.path.basename(options.block)), "precision": options.dtype,
        "threads": options.threads, "steps": options.steps, "tokens_per_step": tokens.numel(),
        "tokens_per_s": tokens.numel() / seconds, "step_s": seconds,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024e-6, "loss": loss.item(),
        "parameters": sum(p.numel() for p in parameters)}))


main()
