"""Blocks of given activations, as a recorder keeps them."""

import numpy as np

from icshift.blocks import BlockKeeper
from icshift.sketch.block import order
from icshift.sketch.workspace import Workspace


def blocks_of(activations, dtype=np.float32):
    """The blocks of activations [units, steps, examples]."""
    values = np.array(activations, dtype, order="C")
    shown = order(values, Workspace())
    keeper = BlockKeeper(len(values), dtype)
    keeper.add(shown.slices, shown.finite, shown.zeros)
    return keeper.blocks()


def normal_blocks(steps, units=3, seed=0, shift=0.0, examples=16, dtype=np.float32):
    """Blocks of normal activations, each unit shifted by so much."""
    random = np.random.default_rng([seed, steps, units, examples])
    shifts = np.broadcast_to(np.asarray(shift, float), units)
    return blocks_of(random.normal(size=(units, steps, examples)) + shifts[:, None, None], dtype)
