"""Batches of arrays that are gathered when they are asked for."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from icshift.inputs.shuffled import shuffled

ORDER = torch.tensor([4, 0, 6, 2, 5, 1, 3])


def batches(values, size, place=torch.Tensor.double, **others):
    return shuffled(((values,), others), ORDER, size, place)


def rows(given):
    return [positional[0].tolist() for positional, _ in given]


def test_batches_are_of_almost_equal_size_and_in_the_order_asked_for():
    given = batches(torch.arange(7), 3)
    assert (len(given), given.examples) == (3, 7)
    assert rows(given) == [[4, 0], [6, 2, 5], [1, 3]]
    assert rows(given[1:]) == [[6, 2, 5], [1, 3]]
    assert given[-1][0][0].dtype is torch.float64


@pytest.mark.parametrize("pieces", [1, 2, 5, 7, 20])
def test_pieces_hold_the_same_in_the_same_order(pieces):
    given = batches(torch.arange(7), 3).in_pieces(pieces)
    assert len(given) == min(pieces, 7)
    assert [row for piece in rows(given) for row in piece] == ORDER.tolist()


def test_what_has_no_rows_or_cannot_be_cut_goes_with_every_batch():
    given = batches(torch.arange(7), 4, scale=torch.tensor(2.0), mode="a")
    assert [(named["scale"].item(), named["mode"]) for _, named in given] == [(2.0, "a")] * 2
    assert rows(batches(torch.arange(7), 3, names=["a"] * 7)) == [ORDER.tolist()]


def test_examples_that_are_not_finite_are_left_out_and_a_batch_of_these_alone_with_them():
    values = torch.arange(7.0)
    values[[4, 0, 1]] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    finite = batches(values, 3).finite()
    assert rows(finite) == [[6, 2, 5], [3]]
    assert rows(finite.in_pieces(2)) == [[6, 2], [5, 3]]
    nothing = batches(values * torch.nan, 3).finite()
    assert (len(nothing), nothing.examples, len(nothing.in_pieces(4))) == (0, 0, 0)
    assert not batches(values, 3, names=["a"] * 7).finite()


MANY = """
import resource, sys
import torch
from torch import nn
from icshift.inputs.data import Reading, read_data

linear = nn.Linear(1024, 2)
resource.setrlimit(resource.RLIMIT_DATA, (3 << 28, 3 << 28))
data = read_data(sys.argv[1], linear, Reading(batch_size=256))
with torch.no_grad():
    print(data.examples, data.nonfinite, sum(len(linear(*positional)) for positional, _ in data.batches))
"""


def test_a_file_larger_than_the_memory_that_may_be_taken_is_read(tmp_path):
    """A sparse file of 1 GiB of zeros, where a process may take 768 MiB: the pages of a mapped file are not its own."""
    np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float64, (1 << 17, 1024)).flush()
    command = [sys.executable, "-c", MANY, str(tmp_path / "a.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == ([str(1 << 17), "0", str(1 << 17)], "")
