"""Where units lie, and rows of activations, against plain indexing."""

from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

import icshift
from icshift.model.layout import by_unit, tensors, unit_axis


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv1d(2, 5, 3), (4, 5, 6)),
        (nn.Conv1d(2, 5, 3), (5, 6)),
        (nn.Conv2d(2, 5, 3), (4, 5, 6, 7)),
        (nn.Conv2d(2, 5, 3), (5, 6, 7)),
        (nn.ConvTranspose3d(2, 5, 3), (4, 5, 6, 7, 8)),
        (nn.BatchNorm1d(5), (4, 5)),
        (nn.BatchNorm1d(5), (4, 5, 6)),
        (nn.GroupNorm(1, 5), (4, 5, 6)),
        (nn.InstanceNorm2d(5), (4, 5, 6, 7)),
        (nn.Linear(2, 5), (5,)),
        (nn.Linear(2, 5), (4, 6, 7, 5)),
        (nn.LayerNorm(5), (4, 6, 7, 5)),
        (nn.Embedding(9, 5), (4, 6, 5)),
        (nn.ReLU(), (4, 5)),
        (nn.ReLU(), (4, 6, 5)),
        (nn.ReLU(), (4, 5, 6, 7)),
        (nn.GroupNorm(1, 5), (5,)),
        (nn.InstanceNorm1d(5), (4, 5, 6)),
        (nn.InstanceNorm1d(5), (5, 6)),
        (nn.InstanceNorm2d(5), (5, 6, 7)),
        (nn.PReLU(5), (4, 5)),
        (nn.PReLU(5), (4, 5, 6)),
        (nn.PReLU(5), (4, 5, 6, 7)),
        (nn.PReLU(), (4, 6, 5)),
        (nn.GLU(dim=1), (4, 5, 6)),
        (nn.GLU(), (4, 6, 7, 5)),
        (nn.MaxPool1d(2), (4, 5, 6)),
        (nn.MaxPool1d(2), (4, 5)),
        (nn.AvgPool1d(2), (4, 5, 6)),
        (nn.LPPool1d(2, 2), (4, 5, 6)),
        (nn.AdaptiveAvgPool1d(6), (4, 5, 6)),
        (nn.AdaptiveMaxPool1d(6), (4, 5, 6)),
        (nn.MaxPool2d(2), (4, 5, 6, 7)),
        (nn.ConstantPad1d(1, 0.0), (4, 5, 6)),
        (nn.ReplicationPad1d(1), (4, 5, 6)),
        (nn.ReflectionPad1d(1), (4, 5, 6)),
        (nn.Dropout1d(), (4, 5, 6)),
        (nn.Dropout2d(), (4, 5, 6)),
        (nn.Dropout(), (4, 6, 5)),
        (nn.Upsample(scale_factor=2), (4, 5, 6)),
        (nn.ChannelShuffle(5), (4, 5, 6)),
        (nn.LocalResponseNorm(2), (4, 5, 6)),
        (nn.PixelShuffle(2), (5, 6, 7)),
        (nn.PixelUnshuffle(2), (4, 5, 6, 7)),
        (nn.Softmax2d(), (5, 6, 7)),
        (nn.Unfold(2), (4, 5, 6)),
        (nn.Unfold(2), (5, 6)),
        (nn.Fold((6, 7), 2), (4, 5, 6, 7)),
        (nn.Fold((6, 7), 2), (5, 6, 7)),
    ],
)
def test_units_lie_on_the_axis_of_length_five(module, shape):
    assert shape[unit_axis(module, len(shape))] == 5


def test_units_of_a_prelu_after_a_convolution_are_the_channels(tmp_path):
    """It has a slope a channel, and positions were recorded: 20 units of 60 values."""
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.PReLU(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with icshift.Recorder(model, tmp_path / "run", optimizer=optimizer):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.randn(5, 3, 22)).square().mean().backward()
            optimizer.step()
    units = icshift.open(tmp_path / "run").windows()
    counts = units[units.site == "1"]["count"]
    assert counts.tolist() == [3 * 5 * 20] * 4


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3), (4, 5, 3, 2), (2, 3, 4, 5), (5,), (1, 5, 1)])
@pytest.mark.parametrize("change", [lambda x: x, lambda x: x.transpose(0, -1).contiguous().transpose(0, -1)])
def test_rows_of_a_unit_are_all_of_its_activations(shape, change):
    values = change(torch.arange(float(np.prod(shape))).reshape(shape))
    for axis in range(len(shape)):
        rows = by_unit(values, axis)
        assert rows.ndim in (2, 3)
        assert rows.shape[1] == shape[axis]
        for unit in range(shape[axis]):
            assert sorted(rows[:, unit].flatten().tolist()) == sorted(values.select(axis, unit).flatten().tolist())


def test_channels_last_becomes_rows_without_a_copy():
    values = torch.randn(4, 5, 3, 2).to(memory_format=torch.channels_last)
    rows = by_unit(values, 1)
    assert rows.shape == (4 * 3 * 2, 5)
    assert rows.data_ptr() == values.data_ptr()
    plain = torch.randn(4, 5, 3, 2)
    assert by_unit(plain, 1).shape == (4, 5, 6)
    assert by_unit(plain, 1).data_ptr() == plain.data_ptr()


Pair = namedtuple("Pair", ["mean", "scale"])


@dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


ONE = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("module", "output", "suffixes"),
    [
        (nn.Identity(), ONE, [""]),
        (nn.Identity(), (ONE, None, [ONE, "word"]), ["[0]", "[2][0]"]),
        (nn.Identity(), Pair(ONE, ONE), [".mean", ".scale"]),
        (nn.Identity(), {"logits": ONE, "layer 1": ONE, 3: ONE}, [".logits", "['layer 1']", "[3]"]),
        (nn.Identity(), Output(ONE), [".logits"]),
        (nn.Identity(), Output, []),
        (nn.Identity(), pack_sequence([ONE, ONE[:1]]), [""]),
        (nn.Identity(), torch.ones(2, 3, dtype=torch.complex64), [".real", ".imag"]),
        (nn.GRU(3, 3), (ONE, ONE), [""]),
        (nn.MultiheadAttention(4, 1), (ONE, ONE), [""]),
        (nn.Identity(), 3, []),
    ],
)
def test_every_tensor_of_an_output_has_a_name(module, output, suffixes):
    assert [suffix for suffix, _ in tensors(module, output)] == suffixes


def test_a_complex_tensor_is_told_in_its_parts():
    value = torch.tensor([1 + 2j]).conj()
    assert [(suffix, part.item()) for suffix, part in tensors(nn.Identity(), value)] == [(".real", 1), (".imag", -2)]
