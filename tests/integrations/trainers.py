"""What a trainer's recording is compared with: plain hooks, and the traces that must not be there."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.stats import wasserstein_distance
from torch.optim import optimizer as optimizer_hooks

import icshift
from tests.oracles.hooks import Witness, values


def watched(module):
    """A witness of what a module gives in training; `end` ends a window."""
    return Witness({"module": module}, when=lambda: module.training)


def drift(witness):
    """Wasserstein-1 of every unit between successive windows, [windows - 1, units]."""
    witness.end()
    whole = [values(tensors) for tensors in witness.by_site["module"]]
    return np.array([[wasserstein_distance(*unit) for unit in zip(a.T, b.T, strict=True)] for a, b in pairwise(whole)])


def recorded_drift(path, site):
    """The same from a recording."""
    drift = icshift.open(path).drift("w1", phase="train", sites=site)
    return drift.pivot_table(index="window", columns="unit", values="value").to_numpy()


def numbers(path):
    """All that a run says about the model: drift, windows and steps, as tables."""
    run = icshift.open(path)
    return [run.drift(("w1_sd", "ks")).drop(columns="run"), run.windows(), run.steps()]


def steps_of_windows(path):
    return [(window.first_step, window.last_step) for window in icshift.open(path).window_list]


def hooks_on(model):
    """How many hooks are on the model and on all optimizers."""
    kinds = ("_forward_hooks", "_forward_pre_hooks")
    return sum(len(getattr(m, kind)) for m in model.modules() for kind in kinds) + len(
        optimizer_hooks._global_optimizer_post_hooks
    )


def same_parameters(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def names_icshift(folder: Path):
    """Files within that name icshift: a pickle that needs it would."""
    return [file.name for file in folder.rglob("*") if file.is_file() and b"icshift" in file.read_bytes()]
