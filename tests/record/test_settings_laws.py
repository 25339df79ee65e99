"""Every setting of a recording with odd values: refused before the training, in one line, or read back as it was."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from icshift.errors import IcshiftError
from icshift.given import LARGEST
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun

INPUTS = torch.ones(5, 4)

ODD = (
    *(-1, 0, 1, 1.5, 3.0, True, False, math.nan, math.inf, "x", "", None, [], {}, b"3", 1j, LARGEST, 10**30),
    *(np.int64(3), np.uint8(2), np.float32(0.5), np.bool_(True), np.array(3), np.array([1, 2]), np.nan),
    *(torch.tensor(3), torch.tensor(0.5), torch.tensor(True), torch.ones(2, 9)),
)

SETTINGS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "samples": lambda value: {"samples": value},
    "window": lambda value: {"window": value},
    "overhead": lambda value: {"overhead": value},
    "resume": lambda value: {"resume": value},
    "force": lambda value: {"force": value},
    "strict": lambda value: {"strict": value},
    "max_units": lambda value: {"sites": Sites(max_units=value)},
    "max_calls": lambda value: {"sites": Sites(max_calls=value)},
    "max_total_units": lambda value: {"sites": Sites(max_total_units=value)},
    "max_step_units": lambda value: {"sites": Sites(max_step_units=value)},
    "axis": lambda value: {"sites": Sites(axis=value)},
    "axis of a glob": lambda value: {"sites": Sites(axis={"0": value})},
    "glob of axis": lambda value: {"sites": Sites(axis={value: 1} if value.__hash__ else value)},
    "batch_size": lambda value: {"probe": Probe(INPUTS, batch_size=value)},
    "running": lambda value: {"probe": Probe(INPUTS, running=value)},
    "train_mode": lambda value: {"probe": Probe(INPUTS, train_mode=value)},
}


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{type(value).__name__} {value}"[:30])
@pytest.mark.parametrize("setting", SETTINGS)
def test_what_is_recorded_is_read_back_and_all_else_refused_before(setting: str, value: Any, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # That units are fewer is told, and is no fault.
            recorder = Recorder(model, tmp_path / "run", **SETTINGS[setting](value)).start()
    except IcshiftError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert "\n" not in said
        assert len(said) < 300
        assert not (tmp_path / "run").exists()
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            model(INPUTS)
            recorder.step()
        recorder.close()
    run = StoredRun(tmp_path / "run")
    manifest = run.manifest
    assert manifest["finished"]
    assert manifest["steps"] == 2
    if "axis" not in setting:
        assert not manifest["stopped"]
        assert {site.name for site in run.sites} == {"0", "2"}
    if setting in manifest["settings"] and setting != "max_units":
        assert manifest["settings"][setting] == value


@pytest.mark.parametrize("number", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
@pytest.mark.parametrize(
    "setting", ["samples", "window", "max_units", "max_calls", "max_total_units", "max_step_units"]
)
def test_whole_numbers_of_any_library_are_taken(setting: str, number: Any, tmp_path: Path) -> None:
    recorder = Recorder(nn.Linear(4, 2), tmp_path / "run", **SETTINGS[setting](number))
    kept = {"samples": recorder._samples, "window": recorder.window} | vars(recorder._sites)
    assert (type(kept[setting]), kept[setting]) == (int, 3)


@pytest.mark.parametrize("value", [0, -1, 2.5, math.nan, True, "x", 10**30])
@pytest.mark.parametrize("setting", ["max_units", "max_calls", "max_total_units"])
def test_sites_without_units_or_calls_are_refused_where_they_are_written(setting: str, value: Any) -> None:
    with pytest.raises(IcshiftError, match=rf"^{setting} is {value!r}: expected a whole number from 1"):
        Sites(**{setting: value})


def test_an_axis_for_a_site_that_is_not_there_is_refused_as_other_names_are(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with pytest.raises(IcshiftError, match="no site of Sequential matches 'nope' of axis; its sites: 0"):
        Recorder(model, tmp_path / "run", sites=Sites(axis={"nope": 1}))
    Recorder(model, tmp_path / "run", sites=Sites(axis={"0#2": 1, "0*": 1}))


def test_what_json_does_not_hold_ends_the_recording_and_the_run_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("icshift.model.sites.by_glob", lambda _name, value, *_bounds: value)
    model = nn.Sequential(nn.Linear(4, 6))
    recorder = Recorder(model, tmp_path / "run", sites=Sites(axis={"0": np.int64(1)})).start()
    model(INPUTS)
    recorder.step()
    with pytest.warns(RuntimeWarning, match="not JSON serializable"):
        recorder.close()
    manifest = StoredRun(tmp_path / "run").manifest
    assert "not JSON serializable" in manifest["stopped"]["reason"]
    assert not manifest["finished"]
