"""Small awkward models: everything that forward hooks are known to trip over.

Each specimen has a name; `build()` gives a model (drawn from torch's global generator) and `make_batch(rng)`, which
gives the positional and keyword arguments of one forward; `loss(output)` is a number to train on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.capture import zoo_modules as modules

Batch = tuple[tuple[Any, ...], dict[str, Any]]
MakeBatch = Callable[[np.random.Generator], Batch]
Build = Callable[[], tuple[nn.Module, MakeBatch]]


class Specimen(NamedTuple):
    name: str
    build: Build
    loss: Callable[[Any], Tensor]


ZOO: list[Specimen] = []


def specimen(output: Callable[[Any], Tensor]) -> Callable[[Build], Build]:
    """Add a model to the zoo; `output` takes the tensor to train on out of what the model gives."""

    def add(build: Build) -> Build:
        ZOO.append(Specimen(build.__name__, build, lambda found: (output(found).float() - 0.3).square().sum() / 20))
        return build

    return add


plain = specimen(lambda output: output)
first = specimen(lambda output: output[0])


def specimens(*names: str) -> list[Specimen]:
    found = [one for one in ZOO if one.name in names]
    assert len(found) == len(names), f"unknown among {names}"
    return found


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> MakeBatch:
    return lambda rng: ((torch.from_numpy(rng.standard_normal(shape)).to(dtype),), {})


def tokens(*shape: int) -> MakeBatch:
    return lambda rng: ((torch.from_numpy(rng.integers(0, 11, shape)),), {})


@plain
def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)), normal(12, 6)


@plain
def sigmoid_mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.Sigmoid()), normal(12, 6)


@plain
def bn_mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@plain
def conv1d():
    layers = nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.ConvTranspose1d(4, 2, 3)
    return nn.Sequential(*layers), normal(6, 3, 10)


@plain
def conv2d():
    layers = nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)), normal(5, 3, 8, 8)


@plain
def conv3d():
    return nn.Sequential(nn.Conv3d(2, 3, 2), nn.InstanceNorm3d(3, affine=True), nn.ReLU()), normal(4, 2, 4, 4, 4)


@plain
def channels_last():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    make = normal(5, 3, 8, 8)
    return model.to(memory_format=torch.channels_last), lambda rng: (
        (make(rng)[0][0].contiguous(memory_format=torch.channels_last),),
        {},
    )


@plain
def residual():
    return modules.Residual(), normal(12, 6)


@plain
def relu_twice():
    return modules.TwiceUsed(), normal(12, 6)


@plain
def shared_linear():
    return modules.Shared(), normal(12, 6)


@plain
def inplace_relu():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)), normal(5, 3, 8, 8)


@plain
def inplace_on_its_input():
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)), normal(12, 6)


@first
def lstm():
    return nn.LSTM(4, 5, num_layers=2, batch_first=True, dropout=0.3), normal(6, 7, 4)


@first
def gru():
    return nn.GRU(4, 5, bidirectional=True), normal(7, 6, 4)


@specimen(lambda output: output.data)
def packed_sequence():
    make = normal(5, 7, 4)
    return modules.Packed(), lambda rng: ((make(rng)[0][0], rng.integers(1, 8, 5).tolist()), {})


@plain
def embedding_mean():
    return modules.Bag(), tokens(8, 5)


@plain
def attention():
    return modules.Attending(), normal(4, 6, 8)


@plain
def attention_over_sequences_of_changing_length():
    return modules.Attending(), lambda rng: normal(4, int(rng.integers(3, 9)), 8)(rng)


@plain
def encoder_layer():
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True), normal(4, 6, 8)


@plain
def decoder():
    return modules.Decoder(), tokens(4, 6)


@specimen(lambda output: output["logits"])
def dict_output():
    return modules.Structured("dict"), normal(12, 6)


@first
def list_output():
    return modules.Structured("list"), normal(12, 6)


@specimen(lambda output: output.logits)
def dataclass_output():
    return modules.Structured("dataclass"), normal(12, 6)


@first
def namedtuple_output():
    return modules.Structured("namedtuple"), normal(12, 6)


@plain
def kwargs_only():
    return modules.KeywordsOnly(), lambda rng: (
        (),
        {"left": normal(12, 6)(rng)[0][0], "right": normal(12, 4)(rng)[0][0], "scale": 0.5},
    )


@plain
def weight_norm():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@plain
def spectral_norm():
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Linear(8, 3)), normal(12, 6)


@plain
def lazy_linear():
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3)), normal(12, 6)


@plain
def bfloat16():
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).to(torch.bfloat16)
    return model, normal(12, 6, dtype=torch.bfloat16)


@plain
def float64():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double(), normal(12, 6, dtype=torch.float64)


@plain
def autocast():
    return modules.Autocast(), normal(12, 6)


@plain
def complex_intermediate():
    return modules.Fourier(), normal(12, 6)


@plain
def checkpoint_reentrant():
    return modules.Checkpointed(use_reentrant=True), normal(12, 6)


@plain
def checkpoint_nonreentrant():
    return modules.Checkpointed(use_reentrant=False), normal(12, 6)


@plain
def dropout():
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)), normal(12, 6)


@plain
def frozen():
    return modules.Frozen(), normal(12, 6)


@plain
def unused_branch():
    return modules.Unused(), normal(12, 6)


@plain
def empty_batch():
    model, batches = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)), []

    def make_batch(rng: np.random.Generator) -> Batch:
        batches.append(0 if len(batches) % 3 == 1 else 12)
        return normal(batches[-1], 6)(rng)

    return model, make_batch


@plain
def single_linear():
    return nn.Linear(6, 3), normal(12, 6)


@plain
def buffers_and_attributes_changed_by_forward():
    return modules.Counting(), normal(12, 6)


@plain
def unbatched_cells():
    return modules.OneAtATime(), normal(6, 6)
