"""A trainer of the `command` evaluator in PyTorch: the smallest program that does real work."""
import json, os, torch

task = os.environ["MOEBIUS_TRIAL_DIR"]
spec = json.load(open(task + "/spec.json"))
recipe = json.load(open(task + "/recipe.json"))
lr = json.load(open(task + "/task.json"))["lr"]
steps, width, seq = int(os.environ["MOEBIUS_STEPS"]), spec["d_model"], recipe["seq"]
torch.manual_seed(int(os.environ["MOEBIUS_SEED"]))
torch.set_num_threads(1)


def sublayer(layer):
    if layer["type"] == "attn":
        return torch.nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True)
    hidden = layer.get("d_ffn") or layer["d_moe"]
    return torch.nn.Sequential(torch.nn.Linear(width, hidden), torch.nn.GELU(), torch.nn.Linear(hidden, width))


embed, layers = torch.nn.Embedding(256, width), torch.nn.ModuleList(map(sublayer, spec["sublayers"]))
head, mask = torch.nn.Linear(width, 256), torch.triu(torch.ones(seq, seq, dtype=torch.bool), 1)
optimizer = torch.optim.AdamW([*embed.parameters(), *layers.parameters(), *head.parameters()], lr=lr)
text = torch.arange(4096) % 37 + 60  # a sequence that any model learns
for step in range(1, steps + 1):
    rows = torch.stack([text[i : i + seq + 1] for i in torch.randint(4000, (recipe["batch"],))])
    h = embed(rows[:, :-1])
    for layer, kind in zip(layers, spec["sublayers"]):
        h = layer(h, mask) if kind["type"] == "attn" else h + layer(h)
    loss = torch.nn.functional.cross_entropy(head(h).flatten(0, 1), rows[:, 1:].flatten())
    optimizer.zero_grad(), loss.backward(), optimizer.step()
    print(json.dumps({"step": step, "loss": loss.item()}), flush=True)
print(json.dumps({"final": True, "loss": loss.item(), "steps": steps}))
