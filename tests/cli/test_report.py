"""What `icshift report` prints: of drift, of a probe, of metrics by example, of measurements with gradients."""

import json
import re
import shlex
from dataclasses import asdict

import numpy as np
import pytest
import torch

import icshift
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.format import GRADIENT_SHIFT, SMOOTHNESS, Site, Window
from icshift.runs.writer import Recording
from tests.cli.measurements import AROUND, SHIFT
from tests.recorded import distribution, of_zoo, probe, site
from tests.reports.shown import run_of
from tests.zoo.distributions import draw

PHASES = ["probe", "probe-train", "probe-batch", "probe-precise"]


def test_report_has_a_row_a_site_in_model_order(with_batch_norm, printed):
    text = printed("report", with_batch_norm)
    sites = [line.split()[0] for line in text.splitlines() if line.strip().startswith(("fc", "norm"))]
    assert sites == ["fc1", "norm1", "fc2"]
    assert "norm1 †" in text
    assert "Next: icshift units" in text


def test_report_fits_80_columns(with_batch_norm, printed):
    lines = printed("report", with_batch_norm, "-q").splitlines()
    assert max(len(line) for line in lines[1:]) <= 80


def test_report_json_is_the_api(with_batch_norm, printed):
    found = json.loads(printed("report", with_batch_norm, "--json", "--metric", "ks", "--reference", "first"))
    expected = icshift.open(with_batch_norm).report("ks", reference="first")
    assert [row["site"] for row in found["sites"]] == expected["site"].tolist()
    assert [row["drift"] for row in found["sites"]] == pytest.approx(expected["drift"].tolist())


def test_what_is_not_shown_is_said_and_is_never_the_worst(tmp_path, printed):
    """The site that drifts most is the last of three, in model order; it is shown first of all."""
    windows = [{("train", name): distribution(draw("normal", 300, seed=seed) + by * seed)
                for name, by in (("a", 0), ("b", 0.2), ("c", 3))} for seed in (0, 1)]  # fmt: skip
    run = run_of(tmp_path / "run", windows, sites=[site(name) for name in "abc"]).path
    text = printed("report", run, "--top", "1")
    assert "1 of 3 sites are shown, those that drifted furthest: --top 3 shows all." in " ".join(text.split())
    assert f"Next: icshift units {run} --site c" in text
    found = json.loads(printed("report", run, "--top", "2", "--json"))
    assert [row["site"] for row in found["sites"]] == ["b", "c"]
    assert "2 of 3 sites" in found["notes"][0]
    assert json.loads(printed("report", run, "--json"))["notes"] == []


def test_report_of_one_window_shows_its_distribution(one_window, printed):
    text = printed("report", one_window)
    assert "nothing to compare" in text
    fc1 = next(line for line in text.splitlines() if line.strip().startswith("fc1"))
    mean = icshift.open(one_window).windows().query("site == 'fc1' and phase == 'train'")["mean"].median()
    assert f"{mean:.3f}" in fc1


def test_report_of_a_probe_has_no_floor(two_windows, printed):
    shown = printed("report", two_windows, "--phase", "probe")
    assert "Paired: the same inputs in every window" in shown
    head = next(line.split() for line in shown.splitlines() if line.split()[:1] == ["site"])
    assert head == ["site", "drift", "p90", "max", "trend", "loc", "scl", "shp", "health"]
    assert "--phase probe   (the site that drifts most)" in " ".join(shown.split("\n"))


def test_report_chooses_sites_by_glob(with_batch_norm, printed):
    found = json.loads(printed("report", with_batch_norm, "--json", "--site", "fc*"))
    assert [row["site"] for row in found["sites"]] == ["fc1", "fc2"]


def test_references_to_another_phase_and_run(two_windows, with_batch_norm, printed):
    found = json.loads(printed("report", two_windows, "--json", "--reference", "phase:eval"))
    assert {row["reference"] for row in found["sites"]} == {"phase:eval"}
    found = json.loads(printed("report", two_windows, "--json", "--reference", f"run:{with_batch_norm}"))
    assert {row["site"] for row in found["sites"]} == {"fc1", "fc2"}


def test_any_window_and_the_worst(with_batch_norm, printed):
    """A report of an earlier window is that of the run which ended there, and so is what it says to type next."""
    for asked in ("2", "worst"):
        found = json.loads(printed("report", with_batch_norm, "--window", asked, "--json"))
        assert {row["window"] for row in found["sites"]} == {2}
        assert bool(found["notes"]) == (asked == "worst")
    text = printed("report", with_batch_norm, "--window", "2")
    assert "window 2 against 1" in text
    (following,) = re.findall("Next: icshift (units .* --window 2)", text)
    assert "window 2 against 1" in printed(*shlex.split(following))
    every = json.loads(printed("report", with_batch_norm, "--window", "all", "--json"))["windows"]
    assert {row["name"] for row in every} == {"2", "3", "4"}


def test_no_colour_when_not_wanted(two_windows, printed, monkeypatch):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in printed("report", two_windows)
    assert "\x1b[3" not in printed("report", two_windows, "--no-color")


@pytest.mark.parametrize(
    ("name", "options", "columns"),
    [
        ("report", (), 80),
        ("report_wide", ("--reference", "first"), 120),
        ("report_all_windows", ("--window", "all"), 80),
        ("report_json", ("--json", "--site", "norm1"), 80),
    ],
)
def test_output_is_what_it_was(name, options, columns, difference_from_golden):
    difference = difference_from_golden(name, "report", "run", *options, columns=columns)
    assert not difference, difference


MISTAKES = {
    "no such run": (["nowhere"], "no such run: nowhere"),
    "not a run": (["."], "no icshift run"),
    "unknown site": (["RUN", "--site", "fc11"], "no site 'fc11'; did you mean fc1"),
    "unknown metric": (["RUN", "--metric", "w1sd"], "no metric 'w1sd'; did you mean w1_sd"),
    "unknown reference": (["RUN", "--reference", "previos"], "did you mean previous"),
    "unknown window": (["RUN", "--window", "9"], "no window '9'; known: 1, 2"),
    "nothing before a window": (["RUN", "--window", "1"], "window 1 has nothing to compare it with"),
    "unknown phase": (["RUN", "--phase", "trian"], "no phase 'trian'; did you mean train"),
    "unknown phase of a reference": (["RUN", "--reference", "phase:evl"], "did you mean eval"),
    "unknown run of a reference": (["RUN", "--reference", "run:nowhere"], "no such run: nowhere"),
    "unknown option": (["RUN", "--colour"], "--colour"),
    "too few rows": (["RUN", "--top", "0"], "--top"),
    "two runs": (["RUN", "other", "-q"], "small other compares two"),
    "no examples": (["RUN", "--metric", "cka_distance"], "phase train has none: choose --phase probe"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, two_windows, refused):
    arguments, expected = MISTAKES[mistake]
    assert expected in refused("report", *[two_windows if word == "RUN" else word for word in arguments])


def test_a_run_without_windows_is_one_line(tmp_path, refused):
    Recording(tmp_path / "run", {"sites": [asdict(Site("fc1", "Linear", axis=1, units=3))]})
    assert "no windows yet" in refused("report", tmp_path / "run")


# Phases of a probe


@pytest.fixture(scope="module")
def of_probes(tmp_path_factory):
    """A run of two windows with batch norm and all phases that a probe can have."""
    norm = Site("norm1", "BatchNorm1d", 1, 4, normalises=True, batch_statistics=True)
    random = np.random.default_rng(5)
    windows = [{(phase, "norm1"): probe(random.normal(size=(4, 300))) for phase in PHASES} for _ in range(2)]
    return run_of(tmp_path_factory.mktemp("report") / "run", windows, sites=[norm]).path


@pytest.mark.parametrize("name", ["report", "path"])
def test_an_older_probe_of_batch_norm_is_not_said_to_be_without_noise(name, of_probes, printed):
    said = " ".join(printed(name, of_probes, "--phase", "probe").split())
    assert "no sampling noise" not in said
    assert "batch norm by its running averages: their own noise shows as drift here" in said
    assert "no sampling noise" in " ".join(printed(name, of_probes, "--phase", "probe-precise").split())


@pytest.mark.parametrize("phase", PHASES)
def test_moments_that_the_layer_sets_itself_are_marked(phase, of_probes, printed):
    assert ("norm1 †" in printed("report", of_probes, "--phase", phase)) == (phase != "probe")


@pytest.mark.parametrize("name", ["report", "path"])
def test_what_was_in_training_mode(name, of_probes, printed):
    found = {phase: " ".join(printed(name, of_probes, "--phase", phase).split()) for phase in PHASES}
    assert [phase for phase in PHASES if "dropout and other draws" in found[phase]] == ["probe-train"]
    assert [phase for phase in PHASES if "all else is in eval mode" in found[phase]] == ["probe-batch"]


@pytest.mark.parametrize("name", ["report", "path"])
def test_a_recorded_probe_in_training_mode_is_not_said_to_be_without_noise(name, tmp_path, printed):
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(), torch.nn.Linear(8, 3))
    with Recorder(model, tmp_path / "run", probe=Probe(torch.randn(16, 4), train_mode=True)) as recorder:
        for _ in range(2):
            model(torch.randn(5, 4))
            recorder.epoch()
    said = {
        phase: "dropout and other draws of the model differ by window"
        in " ".join(printed(name, tmp_path / "run", "--phase", phase).split())
        for phase in ("probe", "probe-train")
    }
    assert said == {"probe": False, "probe-train": True}


# Metrics by example, and of a site as a whole


@pytest.mark.some(2)
@pytest.mark.parametrize("metric", ["displacement", "displacement_sd", "marginal_share", "sliced_w2", "cka_distance"])
def test_report_of_examples(metric, two_windows, command):
    code, out, err = command("report", two_windows, "--metric", metric, "--phase", "probe")
    assert (code, err) == (0, "")
    expected = icshift.open(two_windows).report(metric, phase="probe")
    for line, value in zip(
        [line for line in out.splitlines() if line.strip().startswith("fc")], expected["drift"], strict=True
    ):
        assert line.split()[1] == f"{value:.3f}"
    assert "n = 50 activations a unit of the probe" in out
    whole = metric in ("sliced_w2", "cka_distance")
    head = next(line for line in out.splitlines() if line.strip().startswith("site"))
    assert not {"floor", "×floor", "moved"} & set(head.split())
    assert ("p90" in head) != whole
    assert ("of the site as a whole" in out) == whole
    assert ("have nothing to do with each other" in out) == (metric == "cka_distance")
    assert ("2 standard errors" in out) == (metric == "sliced_w2")
    assert max(map(len, out.splitlines()[1:-1])) <= 80
    follow = re.search(r"Next: icshift (units .*?)   \((.*)\)", out)
    assert ("--metric" in follow[1]) != whole
    assert ("drifts most" in follow[2]) == (metric != "marginal_share")
    assert command(*shlex.split(follow[1]))[0] == 0


# Measurements with gradients


def test_measurements_stand_apart_from_drift(with_measurements, printed):
    text = printed("report", with_measurements, "--no-color", "-q")
    assert max(map(len, text.splitlines()[1:])) <= 80  # The first holds a path.
    drift, shift = text.split("Gradient shift (Santurkar et al. 2018, Def. 2.1)")
    assert "One window" in drift
    row = next(line for line in shift.splitlines() if line.strip().startswith("fc2")).split()
    assert row[:7] == ["fc2", "1,010", "1.000", "0.500", "0.3–0.7", "0.250", "0.250"]
    assert "Medians of n = 3 measured steps" in shift
    assert "Counted of each layer: all parameters." in " ".join(shift.split())
    assert "β·lr (reference: 2)        1.750, at most 2.250; attained mostly at 0.5 lr" in shift
    assert "range of the loss          1.500" in shift


def test_globs_choose_layers_too(with_measurements, printed):
    text = printed("report", with_measurements, "--site", "fc1", "--no-color", "-q")
    shift = text.split("Gradient shift (Santurkar et al. 2018, Def. 2.1)")[1]
    assert [line.split()[0] for line in shift.splitlines() if line.strip().startswith("fc")] == ["fc1"]
    found = json.loads(printed("report", with_measurements, "--site", "fc1", "--json"))
    assert [row["layer"] for row in found["gradient_shift"]] == ["fc1"]


def test_json_holds_measurements(with_measurements, printed):
    found = json.loads(printed("report", with_measurements, "--json"))
    assert [(row["layer"], row["l2"], row["n"]) for row in found["gradient_shift"]] == [
        ("fc1", 0.0, 3),
        ("fc2", 1.0, 3),
    ]
    assert found["smoothness"]["beta_rate_max"] == 2.25


def test_rows_that_a_killed_process_left_without_saying_how_they_were_measured(tmp_path, printed):
    """And of values that are not numbers nothing is said but that."""
    where = Site("fc1", "Linear", 1, 3)
    recording = Recording(tmp_path / "run", {"model": "Net", "sites": [asdict(where)], "ledger": []})
    recording.write_window(Window(1, "1", 0, 9, closed=True), {("train", where): of_zoo("normal", 100)})
    unknown = float("nan")
    recording.append_measured(GRADIENT_SHIFT, [SHIFT[1] | {"l2": unknown, "cosine": unknown, "norm": unknown}])
    recording.append_measured(SMOOTHNESS, [AROUND[0] | {"beta_rate": unknown, "beta_step": unknown}])
    recording.flush()
    text = " ".join(printed("report", tmp_path / "run", "--no-color").split())
    assert "fc2 1,010 – – – – –" in text
    assert "Counted of each layer" not in text
    assert "β·lr (reference: 2) –, at most – Medians of 1 steps" in text
    assert "nan" not in text
