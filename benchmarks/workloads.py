"""The trainings that overhead is measured on: four networks, the small one with three sizes of batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the usual name)


@dataclass(frozen=True, eq=False)
class Workload:
    """A training that can be run step by step; `steps` of them take about half a second."""

    name: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], None]
    steps: int


def small_mlp(batch: int = 60) -> Workload:
    """784-100-100-100-10, sigmoid: Ioffe & Szegedy's network, where a step is little work; they took batches of 60."""
    layers: list[nn.Module] = []
    for inputs in (784, 100, 100):
        layers += [nn.Linear(inputs, 100), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(100, 10))
    return _classifier(f"small MLP, batch {batch}", model, torch.rand(batch, 784), 430 * 60 // batch)


def wide_mlp() -> Workload:
    """784-1024x3-10, ReLU and BatchNorm, batch 256."""
    layers: list[nn.Module] = []
    for inputs in (784, 1024, 1024):
        layers += [nn.Linear(inputs, 1024), nn.BatchNorm1d(1024), nn.ReLU()]
    return _classifier("wide MLP", nn.Sequential(*layers, nn.Linear(1024, 10)), torch.rand(256, 784), 12)


def resnet20() -> Workload:
    """ResNet-20 for 3x32x32 images (He et al. 2016), batch 64."""
    blocks = [_Block(16 if i == 0 else width // (2 if j == 0 else 1), width, stride=2 if i and j == 0 else 1)
              for i, width in enumerate((16, 32, 64)) for j in range(3)]  # fmt: skip
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    model = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))
    return _classifier("ResNet-20", model, torch.rand(64, 3, 32, 32), 2)


def transformer() -> Workload:
    """A decoder of 4 layers, d 256, 4 heads, sequence 128, batch 8, over 256 tokens."""
    model = _Decoder(tokens=256, width=256, heads=4, layers=4, length=128)
    tokens = torch.randint(0, 256, (8, 129))

    def loss() -> Tensor:
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())

    return _workload("transformer", model, torch.optim.AdamW(model.parameters()), loss, 2)


class _Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.padding = stride, width - inputs

    def forward(self, x: Tensor) -> Tensor:
        shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + shortcut)


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class _Decoder(nn.Module):
    def __init__(self, *, tokens: int, width: int, heads: int, layers: int, length: int) -> None:
        super().__init__()
        self.token, self.position = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.token(tokens) + self.position(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def _classifier(name: str, model: nn.Module, images: Tensor, steps: int) -> Workload:
    classes = torch.randint(0, 10, (len(images),))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return _workload(name, model, optimizer, lambda: F.cross_entropy(model(images), classes), steps)


def _workload(
    name: str, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], steps: int
) -> Workload:
    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return Workload(name, model, optimizer, step, steps)


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "small MLP, batch 60": small_mlp,
    "small MLP, batch 128": lambda: small_mlp(128),
    "small MLP, batch 256": lambda: small_mlp(256),
    "wide MLP": wide_mlp,
    "ResNet-20": resnet20,
    "transformer": transformer,
}
