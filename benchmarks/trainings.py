"""Trainings as people write them, one of them by its name: what `benchmarks/scripts.py` runs with and without icshift.

    python benchmarks/trainings.py NAME TIMES

Each takes some seconds. `TIMES` gets the seconds of the processor's time from after the first step to after the last.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (the usual name)
from torch.utils.data import DataLoader, TensorDataset
from workloads import resnet20, transformer, wide_mlp

times: list[float] = []


def note() -> None:
    """A step has ended."""
    times.append(time.process_time())


def tiny_mlp(epochs: int = 120) -> None:
    """20-32-32-2, batch 60, a DataLoader of 3,000 examples: a step is next to no work."""
    model = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    inputs = torch.randn(3000, 20)
    loader = DataLoader(TensorDataset(inputs, (inputs[:, 0] > 0).long()), batch_size=60, shuffle=True)
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            note()


def short() -> None:
    """The same for a tenth of the time: the import of PyTorch is most of it."""
    tiny_mlp(epochs=12)


def conv_net() -> None:
    """Three convolutions with batch norm, 16x16 images, batch 32, evaluated every epoch."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((1, 8), (8, 16), (16, 16)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters())
    images, labels = torch.randn(1280, 1, 16, 16), torch.randint(0, 10, (1280,))
    loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    for _ in range(12):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            note()
        model.eval()
        with torch.no_grad():
            for x, _ in loader:
                model(x)


class _GPT(nn.Module):
    def __init__(self, tokens: int, width: int, length: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(tokens, width), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(width, tokens, bias=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(length)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        return self.head(self.blocks(hidden, mask=self.mask, is_causal=True))


def nano_gpt() -> None:
    """A small decoder that draws its batches itself, as nanoGPT does: no epochs."""
    model = _GPT(64, 96, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    text = torch.randint(0, 64, (10_000,))
    for _ in range(150):
        starts = torch.randint(0, len(text) - 33, (12,)).tolist()
        x, y = (torch.stack([text[s + o : s + o + 32] for s in starts]) for o in (0, 1))
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x).flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        note()


def episodes() -> None:
    """Reinforcement learning: 20 forwards of one row an episode, and an optimizer of its own for each."""
    policy = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))
    for _ in range(400):
        optimizer = torch.optim.Adam(policy.parameters(), lr=1e-3)
        state, chosen = torch.randn(4), []
        for _ in range(20):
            actions = torch.distributions.Categorical(logits=policy(state))
            action = actions.sample()
            chosen.append(actions.log_prob(action))
            state = 0.9 * state + 0.1 * torch.randn(4) + 0.05 * (action - 0.5)
        (-torch.stack(chosen).sum()).backward()
        optimizer.step()
        note()


def graph() -> None:
    """A graph convolutional network, the whole graph in every step, evaluated after each."""
    nodes = 1500
    x, (row, col) = torch.randn(nodes, 32), torch.randint(0, nodes, (2, 6000))
    y = (x[:, 0] > x[:, 1]).long()
    adjacency = torch.sparse_coo_tensor(
        torch.stack([row, col]), torch.ones(6000) / 4, (nodes, nodes), check_invariants=True
    )
    model = nn.ModuleList([nn.Linear(32, 64), nn.Linear(64, 2)])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)

    def forward() -> Tensor:
        hidden = torch.sparse.mm(adjacency, model[0](x)).relu()
        return torch.sparse.mm(adjacency, model[1](hidden))

    for _ in range(400):
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(forward(), y).backward()
        optimizer.step()
        note()
        model.eval()
        with torch.no_grad():
            (forward().argmax(1) == y).float().mean().item()


def _of_overhead(build: Callable[[], object], steps: int) -> Callable[[], None]:
    def train() -> None:
        workload = build()
        for _ in range(steps):
            workload.step()  # type: ignore[attr-defined]
            note()

    return train


TRAININGS: dict[str, Callable[[], None]] = {
    "tiny_mlp": tiny_mlp,
    "short": short,
    "wide_mlp": _of_overhead(wide_mlp, 60),
    "conv_net": conv_net,
    "resnet20": _of_overhead(resnet20, 12),
    "nano_gpt": nano_gpt,
    "transformer": _of_overhead(transformer, 12),
    "episodes": episodes,
    "graph": graph,
}

if __name__ == "__main__":
    torch.manual_seed(0)
    TRAININGS[sys.argv[1]]()
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(str(times[-1] - times[0]))
