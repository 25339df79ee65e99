"""Blocks of given activations, as a recorder keeps them."""

import numpy as np

from icshift.blocks import SLICES, BlockKeeper, Blocks
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


def any_blocks(random, units, count, dtype=np.float32):
    """Blocks of a window: some without values, some of zeros, ordinary ones and ones near the ends of float32."""
    sampled = random.integers(0, 70, (units, count)) * (random.random((units, count)) < 0.95)
    scale = 10.0 ** random.integers(-38, 38, (units, 1, 1)) if random.random() < 0.3 else 1.0
    slices = np.sort(random.normal(size=(units, count, SLICES)) * scale, axis=2).astype(dtype)
    slices[random.random(units) < 0.1] = 0.5
    slices[sampled == 0] = np.nan
    return Blocks(slices, sampled, sampled // 3, np.ones(count, int))
