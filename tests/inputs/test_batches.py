"""Batches cut, limited, copied and described."""

from collections import namedtuple

import pytest
import torch
from torch import nn

from icshift.errors import ModelError
from icshift.inputs.batches import cut, finite_rows, forward, length, limited, shapes, tensors, with_each_tensor

ROWS = torch.arange(10.0)[:, None].expand(-1, 3).clone()
SCALE = torch.tensor(2.0)

Pair = namedtuple("Pair", ["first", "second"])


def batch(rows=ROWS, **keyword):
    return (rows,), keyword


@pytest.mark.parametrize("pieces", [1, 3, 4, 10, 25])
def test_pieces_are_the_whole_in_order(pieces):
    cuts = list(cut(batch(scale=SCALE, flag=True, other=ROWS + 1), pieces))
    sizes = [length(piece) for piece in cuts]
    assert len(cuts) == min(pieces, 10)
    assert max(sizes) - min(sizes) <= 1
    assert torch.equal(torch.cat([positional[0] for positional, _ in cuts]), ROWS)
    assert torch.equal(torch.cat([keyword["other"] for _, keyword in cuts]), ROWS + 1)
    assert all(keyword["scale"] is SCALE and keyword["flag"] is True for _, keyword in cuts)


@pytest.mark.parametrize(
    "whole",
    [batch(names=["a"] * 10), batch(other=ROWS[:3]), ((SCALE,), {}), batch(states=(ROWS, ROWS))],
    ids=["a list of names", "two lengths", "no rows", "nested"],
)
def test_what_cannot_be_cut_is_whole(whole):
    assert list(cut(whole, 4)) == [whole]


def test_a_limit_cuts_the_last_and_asks_for_no_more():
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield batch(ROWS[:4])

    assert [length(cut_off) for cut_off in limited(endless(), 10)] == [4, 4, 2]
    assert len(asked) == 3
    assert [length(left) for left in limited(iter([batch(), batch()]), None)] == [10, 10]
    assert list(limited(endless(), 0)) == []


def test_a_limit_within_what_cannot_be_cut_is_refused():
    with pytest.raises(ModelError, match="a batch of 10 examples cannot be cut to a limit of 7"):
        list(limited(iter([batch(names=["a"] * 10)]), 7))
    assert len(list(limited(iter([batch(names=["a"] * 10)]), 10))) == 1


def test_finite_rows_are_those_finite_in_every_tensor():
    broken, imaginary = ROWS.clone(), torch.zeros(10, 2, dtype=torch.complex64)
    broken[3, 1], imaginary[5, 0] = torch.nan, complex(0, torch.inf)
    (kept,), keyword = finite_rows(batch(broken, phase=imaginary, classes=torch.arange(10)))
    expected = [0, 1, 2, 4, 6, 7, 8, 9]
    assert kept[:, 0].tolist() == keyword["classes"].tolist() == expected
    whole = batch()
    assert finite_rows(whole) is whole
    assert finite_rows(batch(broken, names=["a"] * 10)) is None


def test_tensors_are_found_and_changed_in_every_nesting():
    nested = ((ROWS, [SCALE, "word"]), {"pair": Pair(ROWS, {"deep": SCALE})})
    assert [tensor.ndim for tensor in tensors(nested)] == [2, 0, 2, 0]
    doubled = with_each_tensor(nested, lambda tensor: 2 * tensor)
    assert isinstance(doubled[1]["pair"], Pair)
    assert doubled[0][1][1] == "word"
    for before, after in zip(tensors(nested), tensors(doubled), strict=True):
        assert torch.equal(2 * before, after)


def test_a_forward_gets_copies():
    class Doubling(nn.Module):
        def forward(self, x, *, scale):
            return x.mul_(scale)

    before = ROWS.clone()
    assert torch.equal(forward(Doubling(), batch(scale=SCALE), "it"), 2 * before)
    assert torch.equal(ROWS, before)


@pytest.mark.parametrize(
    ("rows", "hint"), [(torch.zeros(4, 3, dtype=torch.int64), True), (torch.zeros(4, 5), False)], ids=["type", "shape"]
)
def test_what_a_model_refuses_is_told_with_shapes_and_a_hint_where_types_are_the_reason(rows, hint):
    with pytest.raises(ModelError, match="Linear does not take the data of it, batches of ") as raised:
        forward(nn.Linear(3, 2), batch(rows), "it")
    assert shapes(batch(rows)) in str(raised.value)
    assert ("save them as floats" in str(raised.value)) is hint
