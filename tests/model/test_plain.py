"""Every kind of tensor as a plain one with the same activations."""

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from icshift.errors import RecordingError
from icshift.model.plain import dense, is_plain, refuse_split
from icshift.model.torch_private import is_seen, unseen

VALUES = torch.arange(12.0).reshape(4, 3)


class Marked(torch.Tensor):
    """A subclass that changes nothing."""


KINDS = {
    "plain": (VALUES, VALUES),
    "with gradient": (VALUES.clone().requires_grad_() * 1, VALUES),
    "parameter": (nn.Parameter(VALUES.clone()), VALUES),
    "subclass": (VALUES.as_subclass(Marked), VALUES),
    "negated lazily": (
        torch.view_as_complex(VALUES.reshape(6, 2)).conj().imag,
        -VALUES.reshape(6, 2)[:, 1],
    ),
    "quantised": (torch.quantize_per_tensor(VALUES, 1.0, 0, torch.qint8), VALUES),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_activations_are_the_same(kind):
    tensor, expected = KINDS[kind]
    plain, leading = dense(tensor)
    assert (type(plain), leading, plain.requires_grad) == (torch.Tensor, 0, False)
    assert is_plain(plain)
    assert torch.equal(plain, expected)


@pytest.mark.parametrize(
    ("kind", "expected"), [("plain", True), ("parameter", True), ("subclass", False), ("quantised", False)]
)
def test_plain_tensors_are_recognised(kind, expected):
    assert is_plain(KINDS[kind][0]) is expected


@pytest.mark.parametrize("layout", [torch.jagged, torch.strided])
@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_a_nested_tensor_gives_its_values_without_the_first_axis(layout):
    nested = torch.nested.nested_tensor([VALUES, VALUES[:2] + 20], layout=layout)
    plain, leading = dense(nested)
    assert leading == -1
    assert torch.equal(plain, torch.cat([VALUES, VALUES[:2] + 20]))


def test_where_there_are_no_activations_there_is_no_tensor():
    assert dense(VALUES.to("meta")) == (None, 0)
    with FakeTensorMode() as mode:
        assert dense(mode.from_tensor(VALUES)) == (None, 0)


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (1, 0), (0, 2)])
def test_mapped_axes_of_vmap_come_first(axes):
    values, found = torch.randn(3, 4, 5, 6), []

    def inner(x):
        with unseen():
            found.append(dense(x))
        return x

    function = inner
    for axis in reversed(axes):
        function = torch.vmap(function, in_dims=axis, out_dims=axis)
    function(values)
    plain, leading = found[0]
    left, order = list(range(4)), []
    for axis in axes:
        order.append(left.pop(axis))
    assert leading == len(axes)
    assert torch.equal(plain, values.permute(*reversed(order), *left))


def test_a_sparse_tensor_is_refused_with_the_remedy():
    with pytest.raises(RecordingError, match="watch a module after it"):
        dense(VALUES.to_sparse())


class Functions(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.called = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        self.called.append(function.__name__)
        return function(*arguments, **(options or {}))


class Dispatched(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.called = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.called.append(function.name().partition("::")[2])
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("kind", [Functions, Dispatched])
def test_a_mode_is_known_and_passed_by(kind):
    with kind() as mode:
        assert is_seen()
        torch.sin(VALUES)
        with unseen():
            torch.cos(VALUES)
    assert not is_seen()
    assert mode.called == ["sin"]


def test_a_transform_is_known():
    seen = []

    def inside(x):
        seen.append(is_seen())
        return x

    torch.vmap(inside)(VALUES)
    assert seen == [True]


def test_units_that_are_not_split_are_no_fault():
    refuse_split(nn.Linear(3, 3), VALUES, 1)
