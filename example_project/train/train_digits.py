"""Train the digit classifier and write models/digits.onnx and data/digits.npz.

Data: the 1797 digits that ship with scikit-learn, 8x8 pixels of 0..16, here doubled to 16x16 and
scaled to 0..1. A quarter is held out; the calibration images come from the other three.
"""

from __future__ import annotations

import numpy as np
import torch
from export import ROOT, export
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.nn import functional as F

EPOCHS, BATCH = 25, 64


class Residual(nn.Module):
    """Two 3x3 convolutions around a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


class DigitClassifier(nn.Module):
    """A small residual network: image [batch, 1, 16, 16] -> logits and probs [batch, 10]."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 24, 3, padding=1, bias=False),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            Residual(24),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1, bias=False),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            Residual(48),
        )
        self.head = nn.Linear(48, 10)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.head(self.features(image).mean(dim=(2, 3)))
        return logits, torch.softmax(logits, dim=-1)


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return images float32 [1797, 1, 16, 16] in 0..1 and labels int64 [1797]."""
    digits = load_digits()
    doubled = digits.images.repeat(2, axis=1).repeat(2, axis=2)
    return (doubled / 16).astype(np.float32)[:, None], digits.target.astype(np.int64)


def fit(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> None:
    steps = EPOCHS * -(-len(images) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=3e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for pick in torch.randperm(len(images)).split(BATCH):
            logits, _ = model(images[pick])
            optimiser.zero_grad()
            F.cross_entropy(logits, labels[pick], label_smoothing=0.05).backward()
            optimiser.step()
            schedule.step()


def main() -> None:
    torch.manual_seed(0)
    torch.use_deterministic_algorithms(True)
    images, labels = load()
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=0.25, stratify=labels, random_state=0
    )
    model = DigitClassifier()
    fit(model, torch.from_numpy(train_x), torch.from_numpy(train_y))

    model.eval()
    with torch.no_grad():
        predicted = model(torch.from_numpy(test_x))[0].argmax(-1).numpy()
    print(f"held-out accuracy: {np.mean(predicted == test_y):.4f} of {len(test_y)}")

    example = {"image": torch.from_numpy(test_x[:2])}
    export(model, example, ["logits", "probs"], {"image": {0: "batch"}}, "digits")
    np.savez_compressed(
        ROOT / "data" / "digits.npz",
        images=test_x[:256],
        labels=test_y[:256],
        calibration=train_x[:128],
    )


if __name__ == "__main__":
    main()
