"""Of two groups of one network, how often interval and test say that they differ: of values of real trainings.

Small trainings are recorded once; comparisons draw their runs from these. benchmarks/comparison.py trains anew for
every comparison.
"""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from icshift.record.recorder import Recorder
from icshift.replicates.inference import Design, evidence
from icshift.replicates.values import values_of
from icshift.runs.reader import StoredRun
from tests.conftest import small_network

TRAININGS, COMPARISONS = 24, 300


def record(path, seed):
    """A training whose initial weights, and the order of whose examples, are of its own."""
    model = small_network(batch_norm=True)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random), alpha=0.2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    inputs = torch.randn(120, 6, generator=torch.Generator().manual_seed(0))
    classes = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
    with Recorder(model, path, optimizer=optimizer, probe=inputs[:40]) as recorder:
        for _ in range(3):
            for batch in torch.randperm(120, generator=random).split(20):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[batch]), classes[batch]).backward()
                optimizer.step()
            recorder.epoch()
    return path


@pytest.fixture(scope="module")
def drifts(tmp_path_factory):
    """What every training shows [quantities, trainings]: path and last window of every site, in stream and probe."""
    folder, columns = tmp_path_factory.mktemp("trainings"), []
    for seed in range(TRAININGS):
        found = values_of(StoredRun(record(folder / str(seed), seed)), phases=["train", "probe"])
        columns.append(found[found["span"] != "window"]["value"])
    return np.stack(columns, axis=1)


def comparisons(drifts, a, b):
    """What comparisons of a with b of the trainings say of every quantity: p-values and whether intervals hold 1."""
    random = np.random.default_rng(0)
    p, adjusted, held = [], [], []
    for _ in range(COMPARISONS):
        chosen = drifts[:, random.permutation(TRAININGS)[: a + b]]
        found = evidence(Design(a, b), chosen[:, :a], chosen[:, a:])
        p.append(found.p)
        adjusted.append(found.adjusted)
        held.append((found.low <= 1) & (found.high >= 1))
    return np.array(p), np.array(adjusted), np.array(held)


@pytest.mark.parametrize(("a", "b"), [(5, 5), pytest.param(8, 8, marks=pytest.mark.thorough), (5, 7)])
def test_of_equal_groups_intervals_hold_1_and_tests_are_seldom_wrong(a, b, drifts):
    p, adjusted, held = comparisons(drifts, a, b)
    assert held.shape == (COMPARISONS, 24)
    assert held.mean() >= 0.93
    assert held.mean(0).min() >= 0.90
    most = stats.binom(COMPARISONS, 0.05).ppf(0.999) / COMPARISONS
    assert (p <= 0.05).mean(0).max() <= most
    assert (adjusted <= 0.05).any(1).mean() <= most
    # Tests that never say anything would pass too: of 5 pairs they cannot, else they use up their 5 %.
    assert ((p <= 0.05).mean() > 0.03) == (Design(a, b).least_p <= 0.05)


def test_a_difference_of_half_is_found(drifts):
    random = np.random.default_rng(1)
    found = 0
    for _ in range(100):
        chosen = drifts[:, random.permutation(TRAININGS)[:16]]
        found += bool((evidence(Design(8, 8), 0.5 * chosen[:, :8], chosen[:, 8:]).high < 1).mean() > 0.5)
    assert found >= 90
