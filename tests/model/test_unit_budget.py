"""The bound on units of all sites: lowered for all alike, known before a forward, and told."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

from icshift.model.sites import Sites
from icshift.model.unit_budget import even_cap, lowered, units_of
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun


@pytest.mark.parametrize("total", [1, 7, 60, 199, 200, 5000])
def test_the_cap_is_the_largest_that_fits(total: int) -> None:
    units = [3, 40, 40, 100, 17]
    cap = even_cap(units, most=64, total=total)
    held = [sum(min(one, bound) for one in units) for bound in (cap, cap + 1)]
    assert held[0] <= total or cap == 1
    assert cap == 64 or held[1] > total


@pytest.mark.parametrize(
    ("layer", "units"),
    [
        (nn.Linear(3, 5), 5),
        (nn.Conv2d(3, 6, 3), 6),
        (nn.BatchNorm1d(7), 7),
        (nn.GroupNorm(2, 8), 8),
        (nn.LayerNorm((4, 9)), 9),
        (nn.Embedding(100, 10), 10),
        (nn.MultiheadAttention(12, 2), 12),
        (nn.GRU(3, 4), 4),
        (nn.LSTM(3, 8, proj_size=5, bidirectional=True), 10),
        (nn.Identity(), None),
    ],
)
def test_layers_say_how_many_units_their_output_has(layer: nn.Module, units: int | None) -> None:
    assert units_of(layer) == units


def test_a_model_within_the_bound_keeps_its_units_and_nothing_is_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lowered(nn.Linear(3, 2000), Sites()) == Sites()


def test_sites_share_the_bound_and_the_run_says_so(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 90), nn.ReLU(), nn.Linear(90, 80), nn.ReLU(), nn.Linear(80, 10))
    with pytest.warns(
        RuntimeWarning, match="at most 45 units a site, .* the 3 sites of Sequential would have 180, more"
    ):
        recorder = Recorder(model, tmp_path / "run", sites=Sites(max_total_units=100), window=2)
    with recorder:
        for _ in range(4):
            model(torch.randn(8, 4)).sum().backward()
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert [len(site.kept or range(site.units)) for site in run.sites] == [45, 45, 10]
    assert (run.settings["max_units"], run.settings["max_total_units"]) == (45, 100)
    assert run.distribution("train", "0", 1).units == 45


def test_what_is_called_ever_anew_gets_few_units_once_there_is_no_room(tmp_path: Path) -> None:
    cell = nn.Linear(40, 40)

    class Unrolled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for _ in range(4):
                x = self.cell(x)
            return x

    model = Unrolled()
    with Recorder(model, tmp_path / "run", sites=Sites(max_total_units=100)) as recorder:
        model(torch.randn(8, 40)).sum().backward()
        recorder.step()
    sizes = {site.name: len(site.kept or range(site.units)) for site in StoredRun(tmp_path / "run").sites}
    assert sizes == {"cell": 40, "cell#2": 40, "cell#3": 20, "cell#4": 16}


def test_recorded_units_are_those_of_the_whole_layer(tmp_path: Path) -> None:
    """They are chosen before anything is read, and their numbers are what a plain hook sees of them."""
    torch.manual_seed(0)
    model, seen = nn.Sequential(nn.Conv1d(2, 30, 3)), []
    model[0].register_forward_hook(lambda _, __, output: seen.append(output.detach()))
    with Recorder(model, tmp_path / "run", sites=Sites(max_units=5)) as recorder:
        for _ in range(3):
            model(torch.randn(8, 2, 9)).sum().backward()
            recorder.step()
    run = StoredRun(tmp_path / "run")
    whole = torch.cat(seen)[:, list(run.sites[0].kept or ())].transpose(0, 1).flatten(1).double()
    found = run.distribution("train", "0", 1)
    assert found.mean == pytest.approx(whole.mean(1).numpy(), rel=1e-5, abs=1e-7)
    assert found.max == pytest.approx(whole.amax(1).numpy())


def test_the_step_series_has_some_of_the_units_always_the_same(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 200))
    for name, most in (("a", 64), ("b", 64), ("all", None)):
        with Recorder(model, tmp_path / name, sites=Sites(max_step_units=most)) as recorder:
            for _ in range(5):
                model(torch.ones(8, 4)).sum().backward()
                recorder.step()
    first, again, everything = (StoredRun(tmp_path / name) for name in ("a", "b", "all"))
    units = first.sites[0].in_steps
    assert units is not None
    assert len(units) == 64
    assert again.sites == first.sites
    assert everything.sites[0].in_steps is None
    assert tuple(first.steps()["unit"].unique()) == units
    assert len(everything.steps()["unit"].unique()) == 200
    expected = everything.steps()
    rows = expected[expected["unit"].isin(units)].reset_index(drop=True)
    assert first.steps()["q50"].tolist() == pytest.approx(rows["q50"].tolist(), rel=1e-6)
    assert first.distribution("train", "0", 1).units == 200
