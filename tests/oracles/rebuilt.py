"""Gradient shift computed another way: every mixture of old and new parameters in a freshly built model of its own.

Nothing of icshift is used. Layers, their order and their parameters are written down by hand for every specimen.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

State = dict[str, Tensor]


@dataclass(frozen=True)
class Specimen:
    """A model to build, a batch for it, and its layers by hand: name -> names of parameters, in order of execution."""

    build: Callable[[], nn.Module]
    batch: Callable[[], tuple[Tensor, Tensor]]
    order: dict[str, list[str]]
    aliases: tuple[tuple[str, str], ...] = ()  # The same parameter under another name of the state dictionary.

    def loss(self, model: nn.Module) -> Tensor:
        inputs, classes = self.batch()
        return functional.cross_entropy(model(inputs), classes)


@dataclass(frozen=True)
class Shift:
    l2: float
    cosine: float
    norm: float
    norm_after: float


def shifts(
    specimen: Specimen, before: State, after: State, random: Tensor, *, training: bool = True, counted: str = "all"
) -> dict[str, Shift]:
    """Definition 2.1 of Santurkar et al. (2018), a model for each gradient; `random`: torch's state at the forward."""
    order = {
        layer: [name for name in names if counted == "all" or before[name].ndim >= 2]
        for layer, names in specimen.order.items()
    }
    order = {layer: names for layer, names in order.items() if names}
    earlier: list[str] = []
    found = {}
    for layer, names in order.items():
        mixed = {name: after[name] if name in earlier else value for name, value in before.items()}
        for name, alias in specimen.aliases:
            mixed[alias] = mixed[name]
        g = gradient(specimen, before, names, random, training=training)
        g_after = gradient(specimen, mixed, names, random, training=training)
        found[layer] = compared(g, g_after)
        earlier += names
    return found


def gradient(specimen: Specimen, state: State, names: list[str], random: Tensor, *, training: bool) -> np.ndarray:
    """The gradient of some parameters as one vector, by `backward` in a model built for it."""
    model = specimen.build().train(training)
    model.load_state_dict(state)
    torch.set_rng_state(random)
    specimen.loss(model).backward()
    by_name = dict(model.named_parameters())
    grads = [by_name[n].grad if by_name[n].grad is not None else torch.zeros_like(by_name[n]) for n in names]
    return np.concatenate([grad.double().numpy().ravel() for grad in grads])


def compared(g: np.ndarray, after: np.ndarray) -> Shift:
    with np.errstate(invalid="ignore"):
        cosine = float(np.float64(g @ after) / (np.linalg.norm(g) * np.linalg.norm(after)))
    return Shift(float(np.linalg.norm(g - after)), cosine, float(np.linalg.norm(g)), float(np.linalg.norm(after)))


def stepped(specimen: Specimen, model: nn.Module, optimizer: Any, make: Any, random: Tensor) -> State:
    """The state after one step of a copy of the optimizer (built by `make`) on a copy of the model."""
    twin = specimen.build().train(model.training)
    twin.load_state_dict(copy.deepcopy(model.state_dict()))
    other = make(twin.parameters())
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    torch.set_rng_state(random)
    specimen.loss(twin).backward()
    other.step()
    return twin.state_dict()


def numbers(*shape: int, classes: int = 3) -> Callable[[], tuple[Tensor, Tensor]]:
    def batch() -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(3)
        inputs = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        return inputs, torch.from_numpy(rng.integers(classes, size=shape[0]))

    return batch


def tokens(*shape: int, classes: int) -> Callable[[], tuple[Tensor, Tensor]]:
    def batch() -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng(4)
        return torch.from_numpy(rng.integers(11, size=shape)), torch.from_numpy(rng.integers(classes, size=shape[0]))

    return batch


class Backwards(nn.Module):
    """Registered in the opposite order of its calls; with parts that are never called, a frozen and a normed one."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(6, 3)
        self.unused = nn.Linear(6, 6)
        self.middle = parametrizations.weight_norm(nn.Linear(6, 6))
        self.frozen = nn.Linear(6, 6).requires_grad_(False)
        self.first = nn.Linear(5, 6)
        self.by_function = nn.Linear(6, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs))
        hidden = torch.tanh(functional.linear(hidden, self.by_function.weight, self.by_function.bias))
        return self.last(torch.tanh(self.middle(self.frozen(hidden))))


class Shared(nn.Module):
    """One module called three times, between two others."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 3)
        self.cell = nn.Sequential(nn.Linear(6, 6), nn.Tanh())
        self.scale = nn.LayerNorm(6)
        self.into = nn.Linear(5, 6)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.into(inputs)
        for _ in range(3):
            hidden = self.cell(self.scale(hidden))
        return self.out(hidden)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 5)
        self.lstm = nn.LSTM(5, 6, num_layers=2, batch_first=True, dropout=0.2, bidirectional=True)
        self.head = nn.Linear(12, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.lstm(self.embed(inputs))[0][:, -1])


class Transformer(nn.Module):
    """Learned positions that the model itself owns, an encoder layer, and a head whose weight is the embedding's."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, dim_feedforward=16, dropout=0.1, batch_first=True)
        self.head = nn.Linear(8, 11)
        self.head.weight = self.embed.weight
        self.places = nn.Parameter(torch.randn(7, 8))

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(inputs) + self.places).mean(1))


def dropout_and_batch_norm() -> nn.Module:
    return nn.Sequential(
        nn.Linear(5, 8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(8, 8, bias=False),
        nn.BatchNorm1d(8),
        nn.Tanh(),
        nn.Dropout(0.2),
        nn.Linear(8, 3),
    )


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, stride=2),
        nn.GroupNorm(2, 4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(16, 3),
    )


def owned(layer: str, *names: str) -> list[str]:
    return [f"{layer}.{name}" for name in names or ("weight", "bias")]


LSTM = [
    f"{kind}_l{depth}{direction}"
    for depth in (0, 1)
    for direction in ("", "_reverse")
    for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
]

SPECIMENS = {
    "dropout_and_batch_norm": Specimen(
        dropout_and_batch_norm,
        numbers(32, 5),
        {"0": owned("0"), "1": owned("1"), "4": owned("4", "weight"), "5": owned("5"), "8": owned("8")},
    ),
    "convolutional": Specimen(
        convolutional, numbers(8, 2, 8, 8), {layer: owned(layer) for layer in ("0", "1", "3", "4", "7")}
    ),
    "shared": Specimen(
        Shared,
        numbers(16, 5),
        {"into": owned("into"), "scale": owned("scale"), "cell.0": owned("cell.0"), "out": owned("out")},
    ),
    "backwards": Specimen(
        Backwards,
        numbers(16, 5),
        {
            "first": owned("first"),
            "by_function": owned("by_function"),
            "middle": ["middle.bias", *owned("middle.parametrizations.weight", "original0", "original1")],
            "last": owned("last"),
            "unused": owned("unused"),
        },
    ),
    "recurrent": Specimen(
        Recurrent,
        tokens(8, 6, classes=4),
        {"embed": ["embed.weight"], "lstm": owned("lstm", *LSTM), "head": owned("head")},
    ),
    "transformer": Specimen(
        Transformer,
        tokens(8, 7, classes=11),
        {
            "(model)": ["places"],
            "embed": ["embed.weight"],
            "encoder.self_attn": owned("encoder.self_attn", "in_proj_weight", "in_proj_bias"),
            "encoder.self_attn.out_proj": owned("encoder.self_attn.out_proj"),
            "encoder.norm1": owned("encoder.norm1"),
            "encoder.linear1": owned("encoder.linear1"),
            "encoder.linear2": owned("encoder.linear2"),
            "encoder.norm2": owned("encoder.norm2"),
            "head": ["head.bias"],
        },
        aliases=(("embed.weight", "head.weight"),),
    ),
}

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.3),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.02),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.3),
}


def trained(specimen: Specimen, make: Callable[[Any], torch.optim.Optimizer], steps: int = 3) -> Any:
    """A model and its optimizer after some steps, so that momentum and running statistics are not their first ones."""
    torch.manual_seed(11)
    model = specimen.build()
    optimizer = make(model.parameters())
    for _ in range(steps):
        optimizer.zero_grad()
        specimen.loss(model).backward()
        optimizer.step()
    return model, optimizer
