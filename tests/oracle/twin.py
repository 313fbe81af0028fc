"""A plain PyTorch model of a Moebius block, written from the papers and from the block JSON alone."""
import json
import math
import struct

import torch

ROOM = 4  # causal Expert Choice: a token gets at most this times c experts
DTYPES = {"F64": torch.float64, "F32": torch.float32, "BF16": torch.bfloat16, "I32": torch.int32}


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    assert header.pop("__metadata__")["format"] == "pt"
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        tensor = torch.frombuffer(data[begin:end], dtype=DTYPES[entry["dtype"]])
        tensors[name] = tensor.reshape(entry["shape"])
    return tensors


def rms_norm(x, gain):  # 1910.07467
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * gain


ACTIVATIONS = {
    "relu": torch.relu,
    "gelu": torch.nn.functional.gelu,  # the exact one
    "silu": torch.nn.functional.silu,
    "squared_relu": lambda x: torch.relu(x).square(),
}


def hidden_unit(name, up, gate):
    """Splits gated_NAME; up and gate are called only where they are needed."""
    if name.startswith("gated_"):
        return ACTIVATIONS[name[len("gated_"):]](gate()) * up()
    return ACTIVATIONS[name](up())


def relative_buckets(seq):
    """[S, S] T5 bucket of query minus key, unidirectional: 32 buckets, distance 128 (1910.10683)."""
    distance = (torch.arange(seq)[:, None] - torch.arange(seq)[None, :]).clamp(min=0)
    far = 16 + (torch.log(distance.clamp(min=1) / 16.0) / math.log(128 / 16) * 16).to(torch.int64)
    return torch.where(distance < 16, distance, far.clamp(max=31))


def rope(x):
    """x [B, S, H, K]: pairs (2i, 2i + 1) turn by s * 10000^(-2i/K) (2104.09864)."""
    seq, width = x.shape[1], x.shape[3]
    rate = 10000.0 ** (-torch.arange(0, width, 2, dtype=x.dtype) / width)
    angle = (torch.arange(seq, dtype=x.dtype)[:, None] * rate)[:, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = (even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos())
    return torch.stack(turned, -1).flatten(-2)


def causal_conv(x, taps):
    """x [B, S, C]: y[s] = sum_j taps[j] x[s - j] (2109.08668)."""
    y = x * taps[0]
    for j in range(1, taps.shape[0]):
        y = y + taps[j] * torch.nn.functional.pad(x, (0, 0, j, 0))[:, : x.shape[1]]
    return y


def group_tokens(group, batch, seq):
    """[groups, G] rows of the tokens that are routed together, in token order."""
    rows = torch.arange(batch * seq)
    if group == "position":
        return rows.reshape(batch, seq).T
    size = {"sequence": seq, "batch": batch * seq}.get(group) or int(group.split(":")[1])
    return rows.reshape(-1, size)


class Twin:
    """One block, stacked; forward over one micro-batch. Parameters are a dict by slot name."""

    def __init__(self, document, values):
        self.block, self.recipe = document["block"], document["recipe"]
        self.values = values
        self.lowest = {}  # by threshold: the lowest taken scores of a step, [groups, E] each

    def end_step(self):
        """Thresholds follow the mean over the groups of all micro-batches. Their new values by name."""
        moved = {}
        for name, scores in self.lowest.items():
            lowest, old = torch.cat(scores).mean(0, keepdim=True), self.values[name]
            moved[name] = torch.where(old > 0, old + 0.05 * (lowest - old), lowest)
        self.values.update(moved)
        self.lowest = {}
        return moved

    def forward(self, tokens, mode):
        """tokens [B, S] -> logits [B, S, V]; mode "train", "native" (alike) or "causal"."""
        self.mode = mode
        self.aux, self.z, self.kept, self.dropped = 0.0, 0.0, 0, 0
        x = self.values["embedding.table"][tokens]
        if "embedding.positions" in self.values:
            x = x + self.values["embedding.positions"]
        for stack in range(self.block["stacks"]):
            for j, sub in enumerate(self.block["sublayers"]):
                at = f"stack.{stack}.sublayer.{j}."
                h = rms_norm(x, self.values[at + "norm.gain"])
                x = x + getattr(self, sub["type"])(sub, at + sub["type"] + ".", h)
        return rms_norm(x, self.values["final.gain"]) @ self.values["embedding.table"].T

    def attn(self, sub, at, h):
        batch, seq = h.shape[:2]
        heads = []
        for name in "qkv":
            y = h @ self.values[at + name]
            if sub["qkv_conv"]:
                y = causal_conv(y, self.values[at + name + "_conv"])
            heads.append(y.reshape(batch, seq, sub["heads"], sub["head_dim"]))
        q, k, v = heads
        if sub["position"] == "rope":
            q, k = rope(q), rope(k)
        scores = torch.einsum("bqhk,bshk->bhqs", q, k) / math.sqrt(sub["head_dim"])
        if sub["position"] == "relative_bias":
            scores = scores + self.values[at + "bias"][relative_buckets(seq)].permute(2, 0, 1)
        future = torch.ones(seq, seq, dtype=torch.bool).triu(1)
        weights = scores.masked_fill(future, -math.inf).softmax(-1)
        return torch.einsum("bhqs,bshk->bqhk", weights, v).flatten(2) @ self.values[at + "out"]

    def ffn(self, sub, at, h):
        hidden = hidden_unit(sub["activation"], lambda: h @ self.values[at + "up"],
                             lambda: h @ self.values[at + "gate"])
        return hidden @ self.values[at + "down"]

    def moe(self, sub, at, h):
        batch, seq, width = h.shape
        x = h.reshape(-1, width)
        logits = x @ self.values[at + "router"]
        probs = logits.softmax(-1)
        groups = group_tokens(sub["group"], batch, seq)
        route = self.expert_choice if sub["gating"] == "expert_choice" else self.token_choice
        token, expert, gate = route(sub, at, probs, groups)
        self.kept += len(token)
        self.z = self.z + logits.logsumexp(-1).square().mean()
        order = torch.argsort(expert, stable=True)  # rows of an expert lie together
        token, gate = token[order], gate[order]
        rows = x.index_select(0, token).split(torch.bincount(expert, minlength=sub["experts"]).tolist())
        outputs = []
        for e, row in enumerate(rows):
            hidden = hidden_unit(sub["activation"], lambda: row @ self.values[at + "up"][e],
                                 lambda: row @ self.values[at + "gate"][e])
            outputs.append(hidden @ self.values[at + "down"][e])
        y = torch.zeros_like(x).index_add(0, token, torch.cat(outputs) * gate[:, None])
        return y.reshape(batch, seq, width)

    def token_choice(self, sub, at, probs, groups):
        """Top-1 (2101.03961) and Top-2 as in GShard and GLaM: (token, expert, gate) of kept pairs."""
        experts, count = sub["experts"], {"top1": 1, "top2": 2}[sub["gating"]]
        gates, chosen = probs.topk(count)  # [T, k]
        if count > 1:
            gates = gates / (gates.sum(-1, keepdim=True) + 1e-9)
        first = torch.nn.functional.one_hot(chosen[:, 0], experts)[groups].to(probs.dtype)
        balance = (first.mean(1) * probs[groups].mean(1)).sum(-1).mean() * experts
        self.aux = self.aux + balance
        if sub["capacity"] == "none" or self.mode == "causal":
            keep = torch.ones_like(chosen, dtype=torch.bool)
        else:
            slots = round(sub["capacity"] * groups.shape[1] / experts)
            # All first choices of a group in token order, then all second ones: [groups, k G, E].
            wanted = torch.nn.functional.one_hot(chosen, experts)[groups]
            wanted = wanted.transpose(1, 2).flatten(1, 2)
            place = ((wanted.cumsum(1) - wanted) * wanted).sum(-1)  # in its expert's queue
            keep = torch.empty_like(chosen, dtype=torch.bool)
            keep[groups] = (place < slots).reshape(-1, count, groups.shape[1]).transpose(1, 2)
        self.dropped += int((~keep).sum())
        token, choice = keep.nonzero(as_tuple=True)
        return token, chosen[token, choice], gates[token, choice]

    def expert_choice(self, sub, at, probs, groups):
        """2202.09368; causally by thresholds: of the experts above theirs, a token's ROOM c best."""
        threshold = self.values[at + "threshold"]
        if self.mode == "causal":
            scores = torch.where(probs > threshold, probs, -torch.ones_like(probs))
            place = scores.argsort(dim=1, descending=True, stable=True).argsort(1)
            chosen = (scores > 0) & (place < math.ceil(ROOM * sub["capacity"]))
            token, expert = chosen.nonzero(as_tuple=True)
            return token, expert, probs[token, expert]
        slots = round(sub["capacity"] * groups.shape[1] / sub["experts"])
        scores, taken = probs[groups].sort(dim=1, descending=True, stable=True)  # [groups, G, E]
        if self.mode == "train":
            self.lowest.setdefault(at + "threshold", []).append(scores[:, slots - 1].detach())
        token = groups.gather(1, taken[:, :slots].flatten(1)).flatten()
        expert = torch.arange(sub["experts"]).repeat(groups.shape[0] * slots)
        return token, expert, scores[:, :slots].flatten()


def token_losses(logits, targets):
    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return flat.reshape(targets.shape)
