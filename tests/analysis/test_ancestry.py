"""Which runs have units in common."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.ancestry import caveats, share_an_ancestor, strangers
from icshift.analysis.drift import by_site, drift
from icshift.errors import SelectionError
from icshift.runs.reader import StoredRun
from tests.recorded import change_manifest, of_zoo, probe, site, write_run


def recorded(path, *, type="Linear", probed=None, **manifest):
    """A run with sites a and b, with these entries in its manifest."""
    windows = [{("train", "a"): of_zoo("normal", 50), ("train", "b"): of_zoo("normal", 50)} for _ in range(2)]
    if probed is not None:
        windows = [{**window, ("probe", "a"): probe(np.ones((3, 2)))} for window in windows]
        manifest["settings"] = {"probe_fingerprint": probed}
    write_run(path, windows, sites=[site("a"), replace(site("b"), type=type)])
    file = path / "run.json"
    change_manifest(file, **manifest)
    return StoredRun(path)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"initial_weights": "aa"}, {"initial_weights": "aa"}, True),
        ({"initial_weights": "aa"}, {"initial_weights": "bb"}, False),
        ({"initial_weights": "aa", "final_weights": "bb"}, {"initial_weights": "bb"}, True),
        ({"initial_weights": "aa", "final_weights": "cc"}, {"initial_weights": "bb", "final_weights": "cc"}, False),
        ({"initial_weights": None}, {"initial_weights": None}, False),
        ({"initial_weights": None, "final_weights": None}, {"initial_weights": "aa", "final_weights": None}, False),
        ({}, {}, False),
    ],
)
def test_runs_are_akin_where_weights_say_so(first, second, expected, tmp_path):
    run, other = recorded(tmp_path / "run", **first), recorded(tmp_path / "other", **second)
    assert share_an_ancestor(run, other) is share_an_ancestor(other, run) is expected
    assert (strangers(run, f"run:{other.path}") is None) is expected
    assert share_an_ancestor(run, run)


def test_strangers_are_compared_by_number_only_on_request(tmp_path):
    run, other = recorded(tmp_path / "run"), recorded(tmp_path / "other")
    with pytest.raises(SelectionError, match="not known to share their initial weights"):
        drift(run, reference=f"run:{other.path}")
    frame = drift(run, reference=f"paired-run:{other.path}")
    assert set(frame["reference"]) == {f"paired-run:{other.path}"}
    [caveat] = caveats(run, f"paired-run:{other.path}", "train")
    assert "permutation of units" in caveat
    akin = recorded(tmp_path / "akin", initial_weights="aa")
    assert caveats(akin, f"run:{recorded(tmp_path / 'twin', initial_weights='aa').path}", "train") == []
    assert caveats(run, "previous", "train") == []


def test_sites_of_one_name_and_two_types_are_left_out_and_that_is_said(tmp_path):
    run = recorded(tmp_path / "run", initial_weights="aa")
    other = recorded(tmp_path / "other", initial_weights="aa", type="BatchNorm1d")
    compared = [found.name for found, _ in by_site(run, reference=f"run:{other.path}")]
    assert compared == ["a"]
    [caveat] = caveats(run, f"run:{other.path}", "train")
    assert caveat == "Not compared, of another type there: b (Linear, there BatchNorm1d)."


def test_probes_of_other_inputs_are_not_compared(tmp_path):
    runs = [
        recorded(tmp_path / name, initial_weights="aa", probed=probed)
        for name, probed in (("run", "01"), ("same", "01"), ("other", "02"))
    ]
    run, same, other = runs
    unknown = recorded(tmp_path / "unknown", initial_weights="aa", probed=None)
    assert len(drift(run, reference=f"run:{same.path}", phase="probe"))
    assert caveats(run, f"run:{same.path}", "probe") == []
    with pytest.raises(SelectionError, match="different inputs"):
        drift(run, reference=f"run:{other.path}", phase="probe")
    assert len(drift(run, reference=f"run:{other.path}"))
    [caveat] = caveats(run, f"run:{unknown.path}", "probe")
    assert "not known whether both probes" in caveat
