"""What two networks differ by, whatever the order of their units."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from torch import nn

from icshift.analysis.unordered import MEASURES, apart, matched_w2, measures, unordered, unordered_of_phases
from icshift.errors import SelectionError
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.recorded import probe

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 3))


def permuted(model):
    """The same function, with its hidden units in another order."""
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    other = network(0)
    with torch.no_grad():
        for place in ("0.weight", "0.bias"):
            other.get_parameter(place).copy_(model.get_parameter(place)[order])
        other[2].weight.copy_(model[2].weight[:, order])
        other[2].bias.copy_(model[2].bias)
    return other


def recorded(path, model, *, inputs=X, rate=0.0):
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    with Recorder(model, path, sites="*", probe=inputs) as recorder:
        for _ in range(2):
            for x in X.split(10):
                model(x).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
            recorder.epoch()
    return StoredRun(path)


def by_metric(table, site):
    last = table[(table["site"] == site) & (table["window"] == table["window"].max())]
    return dict(zip(last["metric"], last["value"], strict=True))


def test_the_same_function_with_permuted_units_shows_nothing(tmp_path):
    run = recorded(tmp_path / "run", network(1))
    same = recorded(tmp_path / "same", permuted(network(1)))
    for phase in ("train", "probe"):
        table = unordered(run, same, phase=phase)
        known = table["value"].dropna()
        assert known.abs().max() < 1e-6
        assert len(known) == (3 if phase == "train" else 5) * 2 * 4


def test_another_network_shows_what_it_differs_by(tmp_path):
    run = recorded(tmp_path / "run", network(1))
    found = by_metric(unordered(run, recorded(tmp_path / "other", network(2)), phase="probe"), "1")
    assert list(found) == list(MEASURES)
    assert all(value > 0.01 for value in found.values()), found


def test_examples_of_other_inputs_are_not_paired(tmp_path):
    run = recorded(tmp_path / "run", network(1))
    other = recorded(tmp_path / "other", network(2), inputs=X + 1)
    with pytest.raises(SelectionError, match="different inputs"):
        unordered(run, other, phase="probe")
    assert set(unordered_of_phases(run, other, [])["phase"]) == {"train"}


def test_layers_of_other_widths_are_compared_but_not_matched(tmp_path):
    wide = nn.Sequential(nn.Linear(6, 30), nn.ReLU(), nn.Linear(30, 3))
    table = unordered(recorded(tmp_path / "run", network(1)), recorded(tmp_path / "wide", wide), phase="probe")
    found = by_metric(table, "0")
    assert [name for name, value in found.items() if np.isnan(value)] == ["matched_w2"]
    assert set(table[table["site"] == "0"]["units_there"]) == {30}


def test_sites_of_another_type_are_left_out_and_none_in_common_is_a_mistake(tmp_path):
    run = recorded(tmp_path / "run", network(1))
    other = recorded(tmp_path / "other", nn.Sequential(nn.Linear(6, 3), nn.Tanh()))
    assert set(unordered(run, other)["site"]) == {"(model)", "0"}
    odd = recorded(tmp_path / "odd", nn.BatchNorm1d(6))
    with pytest.raises(SelectionError, match="site of the same name and type"):
        unordered(run, odd)


@pytest.mark.parametrize(("first", "second"), [(7, 7), (7, 3), (1, 12)])
def test_distance_of_two_sets_is_scipys(first, second):
    random = np.random.default_rng(0)
    a, b = random.normal(size=first), random.normal(1, size=second)
    assert apart(a, b) == pytest.approx(wasserstein_distance(a, b), rel=1e-12)
    assert apart(np.append(a, np.nan), b) == apart(a, b) == apart(b, a)
    assert np.isnan(apart(a, np.array([np.nan])))


def test_matching_finds_a_permutation_and_what_came_over_it():
    random = np.random.default_rng(0)
    a = probe(random.normal(size=(8, 100)))
    order = random.permutation(8)
    b = replace(a, examples=a.examples[order])
    assert matched_w2(a, b) == pytest.approx(0, abs=1e-9)
    shifted = replace(a, examples=a.examples[order] + 0.01)
    assert matched_w2(a, shifted) == pytest.approx(0.01 * 8**0.5, rel=1e-6)


def test_metrics_that_compare_units_are_refused():
    assert measures([]) == measures(["all"]) == list(MEASURES)
    assert measures(["unit_sds"]) == ["unit_sds"]
    with pytest.raises(SelectionError, match="ks compares unit by unit"):
        measures(["unit_sds", "ks"])
