"""Training of the twin: schedules, rates and optimizers, written from their papers and the recipe."""
import math

import torch

from twin import token_losses


def parts_of(tensor, document):
    return tensor.long().split(document["recipe"]["micro_batch"])


def accumulate(twin, document, tokens, targets):
    """Gradients of one step into .grad; returns what the step measures, and the logits of its parts."""
    recipe, losses, outputs = document["recipe"], [], []
    step = dict.fromkeys(("loss", "aux", "z", "kept", "dropped"), 0.0)
    parts = list(zip(parts_of(tokens, document), parts_of(targets, document)))
    for part_tokens, part_targets in parts:
        outputs.append(twin.forward(part_tokens, "train"))
        losses.append(token_losses(outputs[-1], part_targets))
        terms = {"loss": losses[-1].mean(), "aux": twin.aux, "z": twin.z}
        terms = {name: term / len(parts) for name, term in terms.items()}
        (terms["loss"] + recipe["aux"] * terms["aux"] + recipe["z"] * terms["z"]).backward()
        terms.update(kept=twin.kept, dropped=twin.dropped)
        for name, term in terms.items():
            step[name] += float(term)
    return step, torch.cat(losses).detach(), [logits.detach() for logits in outputs]


def role(name):
    if name.startswith("embedding."):
        return "embedding"
    last = name.split(".")[-1]
    if last == "router":
        return "router"
    return "vector" if last in ("gain", "bias") or last.endswith("_conv") else "hidden"


def schedule(recipe, t, n):
    """Factor of the rate at step t (0-based) of n."""
    warmup = min(1.0, (t + 1) / (recipe["warmup"] * n)) if recipe["warmup"] > 0 else 1.0
    if recipe["schedule"] == "constant_rsqrt":
        return warmup * (1.0 if t / n <= 0.1 else math.sqrt(0.1 / (t / n)))
    return warmup * (min(1.0, (1 - t / n) / recipe["decay"]) if recipe["decay"] > 0 else 1.0)


def rate_group(block):
    gatings = {sub["gating"] for sub in block["sublayers"] if sub["type"] == "moe"}
    if "expert_choice" in gatings:
        return "expert_choice"
    return "token_choice" if gatings else "dense"


def adamw(w, g, lr, decay, t, state):  # 1711.05101
    m = state["m"] = 0.9 * state.get("m", 0) + 0.1 * g
    v = state["v"] = 0.95 * state.get("v", 0) + 0.05 * g * g
    update = (m / (1 - 0.9**t)) / ((v / (1 - 0.95**t)).sqrt() + 1e-8)
    return w - lr * (update + decay * w)


def adafactor(w, g, lr, decay, t, state, vector, scaled):
    """1804.04235, algorithm 4 without first moment; w [.., rows, cols], each matrix a tensor of its own."""
    beta, square = min(0.99, 1 - t**-0.8), g * g + 1e-30
    if vector:
        v = state["v"] = beta * state.get("v", 0) + (1 - beta) * square
    else:
        r = state["r"] = beta * state.get("r", 0) + (1 - beta) * square.mean(-1, keepdim=True)
        c = state["c"] = beta * state.get("c", 0) + (1 - beta) * square.mean(-2, keepdim=True)
        v = r * c / r.mean(-2, keepdim=True)
    def rms(x):
        return x.square().mean((-2, -1), keepdim=True).sqrt()
    update = g / v.sqrt()
    update = update / rms(update).clamp(min=1)
    if scaled:
        update = update * rms(w).clamp(min=1e-3)
    return w - lr * (update + decay * w)


class Trainer:
    def __init__(self, twin, document):
        self.twin, self.document, self.states = twin, document, {}

    def step(self, tokens, targets, t, n):
        twin, recipe, block = self.twin, self.document["recipe"], self.document["block"]
        trained = {k: v for k, v in twin.values.items() if not k.endswith(".threshold")}
        for tensor in trained.values():
            tensor.requires_grad_()
        accumulate(twin, self.document, tokens, targets)
        with torch.no_grad():
            grads = {k: torch.zeros_like(v) if v.grad is None else v.grad for k, v in trained.items()}
            norm = math.sqrt(sum(float(g.square().sum()) for g in grads.values()))
            clip = min(1.0, recipe["clip"] / norm) if recipe["clip"] > 0 else 1.0
            rates = recipe["lr"]
            lr = rates.get(rate_group(block), rates["dense"]) * schedule(recipe, t, n)
            scaled = recipe.get("update_scale") == "parameter"
            for name, w in trained.items():
                kind, state = role(name), self.states.setdefault(name, {})
                share = recipe["lr_width"] / w.shape[-2] if kind == "hidden" else 1.0  # by fan-in
                own = lr * (math.sqrt(share) if scaled else share)
                decay = 0 if kind == "vector" else recipe["weight_decay"]
                g = clip * grads[name]
                if recipe["optimizer"] == "adamw":
                    new = adamw(w, g, own, decay, t + 1, state)
                else:
                    new = adafactor(w, g, own, decay, t + 1, state, kind == "vector", scaled)
                twin.values[name] = new.detach()
        twin.end_step()


