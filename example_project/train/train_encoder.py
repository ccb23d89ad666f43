"""Train the line encoder and write models/encoder.onnx and data/encoder.npz.

Data: lines of Python's own standard library that are code, or prose: comments (without their "#")
and docstrings. Every twelfth file is held out whole. A token is a character: 0 pads, 127 is
whatever is not ASCII. Another version of Python has other lines, so it gives another model.
"""

from __future__ import annotations

import ast
import io
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from export import ROOT, export
from torch import nn
from torch.nn import functional as F

LABELS = ("code", "prose")
VOCABULARY, SHORTEST, LONGEST = 128, 8, 64
TRAIN_LINES, EPOCHS, BATCH = 24_000, 3, 64


class Block(nn.Module):
    """Pre-norm self-attention and a GELU feed-forward layer."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        batch, sequence, width = x.shape
        qkv = self.qkv(self.norm_1(x)).reshape(batch, sequence, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = torch.softmax(query @ key.transpose(-1, -2) * self.scale + bias, dim=-1)
        x = x + self.out((weights @ value).transpose(1, 2).reshape(batch, sequence, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class LineEncoder(nn.Module):
    """A small transformer: ids, mask [batch, sequence] -> embedding [batch, 64], label_logits."""

    def __init__(self, width: int = 64, heads: int = 4, layers: int = 3) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(VOCABULARY, width), nn.Embedding(LONGEST, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, len(LABELS))

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        mask = attention_mask.float()
        # -1e4 shuts a position out as well as -inf does, and is a number in FP16.
        bias = (1.0 - mask)[:, None, None, :] * -1e4
        x = self.token(input_ids) + self.position.weight[: input_ids.shape[1]]
        for block in self.blocks:
            x = block(x, bias)
        weight = mask[:, :, None]
        mean = (self.norm(x) * weight).sum(1) / weight.sum(1).clamp(min=1.0)
        length = mean.norm(dim=-1, keepdim=True).clamp(min=1e-6)
        return mean / length, self.head(mean)


def lines(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the lines of one source file with their kind, as an index into `LABELS`."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    rows = dict(enumerate(text.splitlines(), 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            for row in range(first.lineno, (first.end_lineno or first.lineno) + 1):
                yield rows.pop(row, "").strip().removeprefix('r"""').strip("\"' "), 1
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not token.line[: token.start[1]].strip():
            yield rows.pop(token.start[0], "").strip().strip("#").strip(), 1
    yield from ((row.split("  #")[0].strip(), 0) for row in rows.values())


def load() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Return the lines to train on and those held out, each as (text, label), none twice."""
    library = Path(sysconfig.get_path("stdlib"))
    kept, held_out, seen = [], [], set()
    for number, path in enumerate(
        sorted(library.glob("*.py")) + sorted(library.glob("[a-k]*/*.py"))
    ):
        for text, label in lines(path):
            if SHORTEST <= len(text) <= LONGEST and text not in seen:
                seen.add(text)
                (kept if number % 12 else held_out).append((text, label))
    return balanced(kept, TRAIN_LINES), balanced(held_out, 1200)


def balanced(examples: list[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """Draw `count` examples, the same number of each label, in random order."""
    chosen = []
    for label in range(len(LABELS)):
        of_label = [example for example in examples if example[1] == label]
        pick = torch.randperm(len(of_label))[: count // len(LABELS)]
        chosen += [of_label[index] for index in pick]
    return [chosen[index] for index in torch.randperm(len(chosen))]


def encode(texts: list[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return token ids and attention mask, both int64 [len(texts), length]."""
    ids = np.zeros((len(texts), length), np.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = [min(ord(letter), VOCABULARY - 1) for letter in text]
    return ids, (ids > 0).astype(np.int64)


def batches(ids: torch.Tensor, mask: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield rows for one epoch: lines of like length together, so that little is padding."""
    by_length = torch.argsort(mask.sum(1) + 8 * torch.rand(len(mask)))
    groups = by_length.split(BATCH)
    yield from (groups[index] for index in torch.randperm(len(groups)))


def fit(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> None:
    steps = EPOCHS * -(-len(ids) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for pick in batches(ids, mask):
            longest = int(mask[pick].sum(1).max())
            _, logits = model(ids[pick, :longest], mask[pick, :longest])
            optimiser.zero_grad()
            F.cross_entropy(logits, labels[pick]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()


def main() -> None:
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    kept, held_out = load()
    train_ids, train_mask = map(torch.from_numpy, encode([text for text, _ in kept], LONGEST))
    model = LineEncoder()
    fit(model, train_ids, train_mask, torch.tensor([label for _, label in kept]))

    model.eval()
    ids, mask = encode([text for text, _ in held_out], LONGEST)
    labels = np.array([label for _, label in held_out])
    with torch.no_grad():
        _, logits = model(torch.from_numpy(ids), torch.from_numpy(mask))
    right = logits.argmax(-1).numpy() == labels
    print(f"held-out accuracy: {right.mean():.4f} of {len(right)} lines; a guess is right in 0.50")

    example = {"input_ids": train_ids[:2, :48], "attention_mask": train_mask[:2, :48]}
    dynamic = {name: {0: "batch", 1: "sequence"} for name in example}
    export(model, example, ["embedding", "label_logits"], dynamic, "encoder")
    np.savez_compressed(
        ROOT / "data" / "encoder.npz",
        input_ids=ids[:384],
        attention_mask=mask[:384],
        labels=labels[:384],
        calibration_ids=train_ids[:128],
        calibration_mask=train_mask[:128],
    )


if __name__ == "__main__":
    main()
