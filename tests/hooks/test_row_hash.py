"""Hashes of rows: by their bits alone, whatever their type and layout."""

import numpy as np
import pytest
import torch

from icshift.hooks.row_hash import PLACES, RowHash, mixed

SEED = 1


def hashes(tensor, name="x"):
    return mixed(RowHash(SEED).rows(tensor, name)).tolist()


@pytest.mark.parametrize(
    "dtype",
    [
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float8_e4m3fn),
    ],
    ids=str,
)
def test_rows_that_differ_have_different_hashes_and_equal_rows_equal_ones(dtype):
    # Of doubles and halves alike, only the highest bits tell these rows apart: all places are 0 or 1.
    rows = torch.tensor(list(np.ndindex(*[2] * 12)), dtype=torch.uint8)
    found = hashes(rows.to(torch.float32).to(dtype))
    assert len(set(found)) == 2**12
    order = torch.randperm(2**12)
    assert hashes(rows[order].to(torch.float32).to(dtype)) == [found[place] for place in order]


def test_a_million_rows_have_as_many_hashes():
    grid = torch.cartesian_prod(torch.arange(1000.0), torch.arange(1000.0))
    assert len(set(hashes(grid))) == 1_000_000


def test_no_relation_of_rows_makes_a_sum_of_hashes_equal():
    # Exchanged values, equal sums and equal moments: what a sum of anything linear or quadratic would miss.
    pairs = [
        ([[1.0, 2.0], [3.0, 4.0]], [[1.0, 4.0], [3.0, 2.0]]),
        ([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]], [[1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
        ([[5, 5]], [[5, 5], [5, 5], [5, 5]]),
        ([[1.0]], [[-1.0]]),
        ([[0.0]], [[-0.0]]),
    ]
    for first, second in pairs:
        a, b = (sum(hashes(torch.tensor(rows))) % 2**64 for rows in (first, second))
        assert a != b, first


def test_the_layout_in_memory_does_not_matter():
    images = torch.randn(5, 3, 9, 9)
    expected = hashes(images)
    assert hashes(images.contiguous(memory_format=torch.channels_last)) == expected
    assert hashes(torch.stack([images, images])[1]) == expected
    assert hashes(images.transpose(2, 3).contiguous().transpose(2, 3)) == expected
    assert hashes(torch.view_as_complex(torch.randn(4, 3, 2)).conj().resolve_conj()) != expected
    waves = torch.view_as_complex(torch.randn(4, 3, 2))
    assert hashes(waves.conj()) == hashes(waves.conj().resolve_conj()) != hashes(waves)


def test_of_long_rows_the_same_places_are_read_in_every_batch():
    rows = torch.randn(3, 10_000)
    assert hashes(rows[1:]) == hashes(rows)[1:]
    touched = rows[:1].repeat(200, 1)
    touched[torch.arange(200), torch.arange(0, 10_000, 50)] += 1
    changed = sum(found != hashes(rows)[0] for found in hashes(touched))
    assert changed < 20
    assert len(RowHash(SEED)._places("x", (10_000,), None)[0]) == PLACES


def test_tensors_of_one_example_are_told_apart_by_name():
    assert hashes(torch.ones(2, 3), "x") != hashes(torch.ones(2, 3), "y")


def test_what_is_not_on_the_cpu_is_hashed_alike():
    rows = torch.randn(6, 100, dtype=torch.float64)
    there = RowHash(SEED)
    flat, _, factors = there._places("x", (100,), None)
    # The arithmetic of other devices, on this one.
    drawn = rows.view(torch.int64)[:, torch.from_numpy(flat)]
    drawn = drawn ^ (drawn >> 32)
    assert mixed((drawn * torch.from_numpy(factors)).sum(1)).tolist() == mixed(there.rows(rows, "x")).tolist()


@pytest.mark.some(10)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.int16])
@pytest.mark.parametrize("shape", [(5,), (1, 3), (7, 40), (6, 3, 11), (2, 1, 5, 9)])
def test_the_sum_over_rows_is_that_of_their_hashes(dtype, shape):
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(3)) * 50).to(dtype)
    hashed = RowHash(9)
    for laid_out in (tensor, torch.stack([tensor, tensor], -1)[..., 0]):
        assert hashed.total(laid_out, "x") == int(mixed(hashed.rows(tensor, "x")).sum())
