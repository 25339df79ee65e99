"""Data of windows in which nothing changes: streams of steps [examples, 16] as training loops meet them.

Every stream is a function of a generator, a network's number of windows, and the numbers of steps and of examples a
step of each; it gives a list of windows, each a list of steps. Examples are of four classes, whose means differ.
"""

import numpy as np
import torch

from tests.calibration.networks import FEATURES

CLASSES = 4


def _examples(random, classes):
    """Examples of these classes; classes differ in their mean, and each is skewed in a quarter of the features."""
    means = np.linspace(-1, 1, CLASSES)[classes][:, None] * np.tile([1.0, -1.0, 0.5, 0.0], FEATURES // 4)
    values = random.normal(size=(len(classes), FEATURES))
    values[:, ::4] = random.exponential(size=(len(classes), len(values[0, ::4]))) - 1
    return means + values


def _fresh(random, count):
    return _examples(random, random.integers(CLASSES, size=count))


def _in_steps(examples, steps, batch):
    return [examples[step * batch : (step + 1) * batch] for step in range(steps)]


def fresh(random, lengths, batches):
    """Examples that are independent of each other."""
    return [_in_steps(_fresh(random, steps * n), steps, n) for steps, n in zip(lengths, batches, strict=True)]


def reshuffled(random, lengths, batches):
    """The same examples in every window, in another order; the last ones are left out where windows are shorter."""
    pool = _fresh(random, max(steps * n for steps, n in zip(lengths, batches, strict=True)))
    return [_in_steps(random.permutation(pool), steps, n) for steps, n in zip(lengths, batches, strict=True)]


def in_turns(random, lengths, batches):
    """Two sources whose examples differ by two standard deviations, one step from each in turn."""
    signs = np.resize([1.0, -1.0], sum(lengths))
    windows = fresh(random, lengths, batches)
    flat = iter(signs)
    return [[step + next(flat) for step in window] for window in windows]


def sorted_by_class(random, lengths, batches):
    """The same examples in every window, sorted by class, in the same order."""
    pool = np.concatenate(_by_class(random, lengths, batches))
    return [_in_steps(pool, steps, n) for steps, n in zip(lengths, batches, strict=True)]


def shuffled_within_class(random, lengths, batches):
    """The same examples in every window, sorted by class, in another order within each class."""
    pool = _by_class(random, lengths, batches)
    orders = [np.concatenate([random.permutation(examples) for examples in pool]) for _ in lengths]
    return [_in_steps(order, steps, n) for order, steps, n in zip(orders, lengths, batches, strict=True)]


def fresh_sorted(random, lengths, batches):
    """Independent examples, sorted by class within every window."""
    return [
        _in_steps(_examples(random, np.sort(np.arange(steps * n) % CLASSES)), steps, n)
        for steps, n in zip(lengths, batches, strict=True)
    ]


def sorted_out_of_step(random, lengths, batches):
    """Independent examples, sorted by class over stretches of three quarters of a window: windows begin anywhere."""
    total = sum(steps * n for steps, n in zip(lengths, batches, strict=True))
    stretch = 3 * lengths[0] * batches[0] // 4
    examples = _examples(random, np.arange(total) % stretch * CLASSES // stretch)
    edges = np.cumsum([0] + [steps * n for steps, n in zip(lengths, batches, strict=True)])
    return [_in_steps(examples[edge:], steps, n) for edge, steps, n in zip(edges[:-1], lengths, batches, strict=True)]


def autoregressive(random, lengths, batches, rho=0.9):
    """A mean that follows an autoregression of `rho` a step, half as wide as the examples around it."""
    state, windows = 0.5 * random.normal(size=FEATURES), []
    for window in fresh(random, lengths, batches):
        moved = []
        for step in window:
            state = rho * state + 0.5 * np.sqrt(1 - rho**2) * random.normal(size=FEATURES)
            moved.append(step + state)
        windows.append(moved)
    return windows


def topics(random, lengths, batches):
    """Every example has a mean of its own, which all its positions share."""
    return [
        [step + 2 * random.normal(size=(len(step), 1)) for step in window] for window in fresh(random, lengths, batches)
    ]


def _by_class(random, lengths, batches):
    count = max(steps * n for steps, n in zip(lengths, batches, strict=True))
    return [_examples(random, np.full(count // CLASSES, each)) for each in range(CLASSES)]


def as_tensor(step):
    return torch.from_numpy(np.ascontiguousarray(step, np.float32))
