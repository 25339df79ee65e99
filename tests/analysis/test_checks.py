"""Checks of conditions: what they measure against direct computation, and what cannot be known."""

from dataclasses import replace

import numpy as np
import pytest

import icshift
from icshift.analysis.checks import Measurement, evaluate, most_extreme
from icshift.analysis.conditions import COMPARISONS, OVER_UNITS, parse
from icshift.analysis.metrics import METRICS
from icshift.errors import RunError, SelectionError
from tests.recorded import distribution, site, write_run
from tests.zoo.distributions import draw

UNITS, N = 10, 400


def normal(seed, *, shift=0.0, scale=1.0):
    return draw("normal", N, UNITS, seed=seed) * scale + shift


def activations(window):
    """A unit of fc1 is dead, one constant; one of fc2 has a NaN in the middle window, one saturates in the last."""
    first, second = normal(window, shift=0.2 * window), normal(window + 10, scale=1 + 0.4 * window)
    first[0] = -np.abs(first[0]) - 0.1
    first[1] = 0.5
    if window == 1:
        second[2, 7] = np.nan
    if window == 2:
        second[3] = 8 + second[3]
    return {"fc1": first, "norm1": normal(window + 20, shift=-0.1 * window), "fc2": second}


SITES = [site("fc1", UNITS, feeds=("ReLU",)), site("norm1", UNITS), site("fc2", UNITS, feeds=("Sigmoid",))]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three windows of three sites, and fc1 in the phase of a probe; the others have nothing there."""
    windows = []
    for window in range(3):
        found = activations(window)
        kept = {("train", name): distribution(values) for name, values in found.items()}
        kept["probe", "fc1"] = distribution(found["fc1"] * (1 + 0.1 * window), blocks=False)
        windows.append(kept)
    path = tmp_path_factory.mktemp("conditions") / "run"
    return icshift.open(write_run(path, windows, names=["one", "two", "three"], sites=SITES))


def verdicts(run, text, **options):
    """Site -> verdict."""
    return {verdict.site: verdict for verdict in evaluate(run, [parse(text)], **options)}


def states(run, text, **options):
    return {name: verdict.state for name, verdict in verdicts(run, text, **options).items()}


@pytest.mark.some(4)
@pytest.mark.covering(1)
@pytest.mark.parametrize("reference", ["previous", "first"])
@pytest.mark.parametrize("name", [name for name, one in METRICS.items() if not one.by_example])
def test_drift_is_what_the_report_and_the_drift_table_say(name, reference, run):
    report = run.report(name, reference=reference).set_index("site")
    table = run.drift(name, reference=reference)
    last = table[(table["window"] == 3) & ~table["near_constant"]].groupby("site")
    for over in OVER_UNITS:
        found = verdicts(run, f"{over}({name}) > 1x floor", reference=reference)
        assert list(found) == ["fc1", "norm1", "fc2"]
        for place, verdict in found.items():
            measured = verdict.measurement
            units = last.get_group(place)
            value, floor = (units[column].abs().quantile(OVER_UNITS[over]) for column in ("value", "floor"))
            assert measured.value == pytest.approx(value)
            assert measured.value == pytest.approx(report["drift" if over == "median" else over][place])
            assert measured.floor == pytest.approx(floor)
            assert verdict.state == ("failed" if value > floor else "ok")
            assert (measured.window, measured.units, measured.n) == ("three", UNITS, N)
            assert measured.reference == {"previous": "two", "first": "one"}[reference]
            if over == "median":
                assert measured.floor == pytest.approx(report["floor"][place])
                if floor > 0:
                    assert measured.level == pytest.approx(report["ratio"][place])


def test_moved_is_what_the_report_says(run):
    report = run.report().set_index("site")["moved"]
    for place, verdict in verdicts(run, "moved > 50%").items():
        assert verdict.measurement.level == report[place]
        assert verdict.measurement.value == round(report[place] * UNITS)
        assert verdict.state == ("failed" if report[place] > 0.5 else "ok")
    table = run.drift(sites="fc1").query("window == 3")
    assert verdicts(run, "fc1 moved > 0")["fc1"].measurement.value == table["moved"].sum() > 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dead > 0", {"fc1": ("failed", 1), "norm1": ("skipped", None), "fc2": ("skipped", None)}),
        ("dead > 10%", {"fc1": ("ok", 1), "norm1": ("skipped", None), "fc2": ("skipped", None)}),
        ("dead >= 10%", {"fc1": ("failed", 1), "norm1": ("skipped", None), "fc2": ("skipped", None)}),
        ("saturated > 0", {"fc1": ("skipped", None), "norm1": ("skipped", None), "fc2": ("failed", 1)}),
        ("constant > 0", {"fc1": ("failed", 1), "norm1": ("ok", 0), "fc2": ("ok", 0)}),
        ("near_constant > 0", {"fc1": ("failed", 1), "norm1": ("ok", 0), "fc2": ("ok", 0)}),
        ("nonfinite > 0", {"fc1": ("ok", 0), "norm1": ("ok", 0), "fc2": ("failed", 1)}),
        ("fc* nonfinite > 9%", {"fc1": ("ok", 0), "fc2": ("failed", 1)}),
    ],
    ids=str,
)
def test_units_in_trouble(text, expected, run):
    found = verdicts(run, text)
    assert {name: verdict.state for name, verdict in found.items()} == {name: one[0] for name, one in expected.items()}
    for name, (_, count) in expected.items():
        if count is not None:
            assert found[name].measurement.value == count


def test_trouble_in_an_earlier_window_is_found(run):
    assert run.report().set_index("site")["nonfinite"]["fc2"] == 0
    assert verdicts(run, "nonfinite > 0")["fc2"].measurement.window == "two"
    assert verdicts(run, "saturated > 0")["fc2"].measurement.window == "three"
    assert verdicts(run, "nonfinite < 1")["fc2"].measurement.window == "one"


@pytest.mark.parametrize("text", ["w1_sd > 0.15", "w1_sd > 2x floor", "moved > 40%", "nonfinite > 0", "ks > 9%"])
def test_a_condition_and_its_opposite_never_agree_on_a_window(text, run):
    quantity, limit = text.split(" > ")
    for name, verdict in verdicts(run, text).items():
        exact = replace(parse(text), limit=verdict.measurement.level, site=name)
        found = {sign: evaluate(run, [replace(exact, comparison=sign)])[0] for sign in COMPARISONS}
        assert found[">="].state == found["<="].state == "failed"
        if quantity != "nonfinite":
            assert found[">"].state == found["<"].state == "ok"
            opposite = evaluate(run, [parse(f"{name} {quantity} <= {limit}")])[0]
            assert {verdict.state, opposite.state} == {"ok", "failed"}


def test_the_last_window_is_checked_or_all(run):
    table = run.drift().query("~near_constant").groupby(["site", "window"])["value"].median()
    first, last = table["fc2"][2], table["fc2"][3]
    assert first > last
    limit = (first + last) / 2
    assert states(run, f"fc2 w1_sd > {limit}") == {"fc2": "ok"}
    found = verdicts(run, f"fc2 w1_sd > {limit}", all_windows=True)["fc2"]
    assert (found.state, found.measurement.window, found.measurement.reference) == ("failed", "two", "one")
    assert found.measurement.value == pytest.approx(first)
    assert verdicts(run, f"fc2 w1_sd < {limit}", all_windows=True)["fc2"].measurement.window == "three"
    assert verdicts(run, "fc2 w1_sd > 9", all_windows=True)["fc2"].measurement.window == "two"


def test_verdicts_come_in_the_order_of_conditions_and_sites(run):
    conditions = [parse(text) for text in ("fc* w1_sd > 1", "nonfinite > 0")]
    found = evaluate(run, conditions)
    assert [(one.condition.quantity, one.site) for one in found] == [
        ("w1_sd", "fc1"),
        ("w1_sd", "fc2"),
        *(("nonfinite", name) for name in ("fc1", "norm1", "fc2")),
    ]


def test_a_noiseless_phase_has_drift_but_no_floor(run):
    found = verdicts(run, "w1_sd > 0.01", phase="probe")
    assert found["fc1"].state == "failed"
    assert np.isnan(found["fc1"].measurement.floor)
    moved = verdicts(run, "moved > 100%", phase="probe")["fc1"]
    assert (moved.state, moved.measurement.level) == ("ok", run.report(phase="probe")["moved"][0])
    with pytest.raises(SelectionError, match=r"'w1_sd > 2x floor': phase probe has the same inputs .* give a number"):
        verdicts(run, "w1_sd > 2x floor", phase="probe")


def test_sites_without_the_phase_are_skipped(run):
    found = verdicts(run, "w1_sd > 9", phase="probe")
    assert {name: one.state for name, one in found.items()} == {"fc1": "ok", "norm1": "skipped", "fc2": "skipped"}
    assert found["fc2"].reason == "nothing recorded in phase probe"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("fc2 dead > 0", {}, "cannot check 'fc2 dead > 0' at fc2: no ReLU reads it"),
        ("norm1 saturated > 0", {}, "no sigmoid or tanh reads it"),
        ("fc2 w1_sd > 0", {"phase": "probe"}, "nothing recorded in phase probe"),
        ("fc3 w1_sd > 0", {}, "no site 'fc3'; did you mean fc2"),
        ("conv* dead > 0", {}, r"no site 'conv\*'"),
        ("dead > 0", {"phase": "porbe"}, "no phase 'porbe'; did you mean probe"),
        ("dead > 0", {"reference": "frist"}, "no reference 'frist'; did you mean first"),
        ("w1_sd > 0", {"reference": "phase:train"}, "phase itself"),
    ],
    ids=str,
)
def test_what_can_be_checked_nowhere_is_a_mistake(text, options, message, run):
    with pytest.raises(SelectionError, match=message):
        verdicts(run, text, **options)


def test_one_window_has_health_but_no_drift(tmp_path):
    windows = [{("train", "fc1"): distribution(activations(0)["fc1"])}]
    run = icshift.open(write_run(tmp_path / "run", windows, sites=SITES[:1]))
    assert states(run, "dead > 0") == {"fc1": "failed"}
    for text in ("w1_sd > 0", "moved > 0"):
        verdict = verdicts(run, text)["fc1"]
        assert verdict.state == "unmeasured"
        assert verdict.reason.startswith("nothing to compare in phase train; drift needs a second window")


def test_no_window_is_a_mistake(tmp_path):
    run = icshift.open(write_run(tmp_path / "run", [], sites=SITES))
    with pytest.raises(SelectionError, match="has no windows: nothing was recorded"):
        verdicts(run, "nonfinite > 0")


def of_windows(path, *windows, steps=8, sites=None):
    """A run of windows, each a mapping of site to values."""
    kept = [{("train", name): distribution(one, steps=steps) for name, one in window.items()} for window in windows]
    return icshift.open(write_run(path, kept, sites=sites))


def test_a_site_that_the_last_window_lacks_is_not_measured(tmp_path):
    run = of_windows(
        tmp_path / "run",
        {"a": normal(0), "b": normal(1)},
        {"a": normal(2), "b": normal(3, shift=5)},
        {"a": normal(4)},
    )
    found = verdicts(run, "w1_sd > 1")
    assert (found["a"].state, found["b"].state) == ("ok", "unmeasured")
    assert found["b"].reason == "nothing to compare in window 3"
    assert states(run, "w1_sd > 9", all_windows=True) == {"a": "ok", "b": "unmeasured"}
    assert states(run, "w1_sd > 1", all_windows=True) == {"a": "ok", "b": "failed"}
    assert states(run, "moved > 100%") == {"a": "ok", "b": "unmeasured"}
    assert states(run, "nonfinite > 0") == {"a": "ok", "b": "ok"}


def test_a_site_that_the_other_run_lacks_is_not_measured(tmp_path):
    run = of_windows(tmp_path / "run", {"a": normal(0), "b": normal(1)})
    other = of_windows(tmp_path / "other", {"a": normal(2), "b": draw("normal", N, UNITS + 1)})
    assert states(run, "w1_sd > 1", reference=f"paired-run:{other.path}") == {"a": "ok", "b": "unmeasured"}
    with pytest.raises(RunError, match="no such run"):
        verdicts(run, "nonfinite > 0", reference=f"run:{tmp_path / 'nowhere'}")


def diverged(values, *units):
    values = values.copy()
    values[list(units)] = np.nan
    return values


@pytest.mark.parametrize(
    "text", ["w1_sd > 1", "max(ks) > 90%", "w1_sd > 9x floor", "moved > 90%", "dead > 50%", "constant > 50%"]
)
def test_units_that_diverged_never_pass(text, tmp_path):
    run = of_windows(tmp_path / "run", {"fc1": normal(0)}, {"fc1": diverged(normal(1), 4, 7)}, sites=SITES[:1])
    found = verdicts(run, text)["fc1"]
    assert (found.state, found.reason) == ("unmeasured", "2 of 10 units had no finite activation in window 2")
    assert states(run, "nonfinite > 1") == {"fc1": "failed"}
    assert states(run, "nonfinite > 50%") == {"fc1": "ok"}


def test_what_is_known_may_fail_all_the_same(tmp_path):
    run = of_windows(tmp_path / "run", {"fc1": normal(0)}, {"fc1": diverged(normal(1, shift=9), 4)})
    found = verdicts(run, "w1_sd > 1")["fc1"]
    assert (found.state, found.reason) == ("failed", "1 of 10 units had no finite activation")


def test_a_window_without_any_value_hides_no_other(tmp_path):
    undefined = diverged(normal(0), *range(UNITS))
    windows = [undefined, normal(1), normal(2, shift=5), normal(3, shift=5), undefined, undefined]
    run = of_windows(tmp_path / "run", *({"a": values} for values in windows))
    found = verdicts(run, "w1_sd > 1", all_windows=True)["a"]
    assert (found.state, found.measurement.window) == ("failed", "3")
    assert found.measurement.value > 1
    found = verdicts(run, "w1_sd > 99", all_windows=True)["a"]
    assert (found.state, found.measurement.window) == ("unmeasured", "2")
    assert found.reason == "10 of 10 units had no finite activation in window 2"


def test_a_site_that_diverged_altogether_is_not_measured(tmp_path):
    run = of_windows(tmp_path / "run", {"fc2": normal(0)}, {"fc2": diverged(normal(1), *range(UNITS))}, sites=SITES[2:])
    for text in ("w1_sd > 0", "w1_sd < 9", "p90(w1_sd) > 2x floor", "moved > 0", "saturated > 0"):
        assert states(run, text) == {"fc2": "unmeasured"}
    assert states(run, "nonfinite >= 100%") == {"fc2": "failed"}
    alone = of_windows(tmp_path / "alone", {"fc2": diverged(normal(1), *range(UNITS))}, sites=SITES[2:])
    assert states(alone, "constant < 9") == states(alone, "saturated < 9") == {"fc2": "unmeasured"}


def test_a_site_of_constants_is_not_measured(tmp_path):
    run = of_windows(tmp_path / "run", *({"a": np.full((UNITS, N), value)} for value in (1.0, 2.0)))
    assert verdicts(run, "w1_sd > 1")["a"].reason == "all 10 units are near-constant in window 2"
    assert states(run, "moved > 0") == states(run, "constant > 0") == {"a": "failed"}


def test_windows_of_one_step_have_no_floor_and_nothing_that_moved(tmp_path):
    run = of_windows(tmp_path / "run", {"a": normal(0)}, {"a": normal(1, shift=5)}, steps=1)
    assert states(run, "w1_sd > 1") == {"a": "failed"}
    assert verdicts(run, "w1_sd > 3x floor")["a"].reason == "no floor: a window of 1 step: it takes 6 in window 2"
    assert np.isnan(run.report()["moved"][0])
    assert states(run, "moved > 0") == states(run, "moved < 50%") == {"a": "unmeasured"}


@pytest.mark.parametrize("condition", ["w1_sd > 3x floor", "w1_sd < 3x floor", "p90(w1_sd) > 3x floor", "moved > 0"])
def test_a_few_steps_are_no_floor_and_nothing_passes_them(condition, tmp_path):
    first, second = normal(0)[:, :2], normal(1, shift=5)[:, :2]
    run = of_windows(tmp_path / "run", {"a": first}, {"a": second}, steps=2)
    verdict = verdicts(run, condition)["a"]
    assert verdict.state == "unmeasured"
    assert "a window of 2 steps: it takes 6" in verdict.reason
    assert np.isnan(run.drift()["floor"]).all()
    assert np.isnan(run.drift()["ratio"]).all()
    assert run.drift()["moved"].isna().all()
    assert np.isnan(run.report()[["floor", "ratio", "moved"]].to_numpy(float)).all()


def test_a_floor_that_some_units_lack_is_not_measured(tmp_path):
    first, second = normal(0), normal(1)
    for values in (first, second):
        values[3, 2:] = np.nan
    run = of_windows(tmp_path / "run", {"a": first}, {"a": second})
    verdict = verdicts(run, "w1_sd > 3x floor")["a"]
    assert (verdict.state, verdict.reason[:27]) == ("unmeasured", "no floor: 1 of 10 units are")
    assert states(run, "w1_sd > 1") == {"a": "ok"}


def test_no_drift_at_all_is_no_multiple_of_no_noise(tmp_path):
    run = of_windows(tmp_path / "run", {"a": normal(0)}, {"a": normal(1)}, {"a": np.maximum(normal(2), 0)})
    early = verdicts(run, "zero_share > 3x floor", reference="2")["a"].measurement
    assert early.level == pytest.approx(early.value / early.floor)
    two = of_windows(tmp_path / "two", {"a": normal(0)}, {"a": normal(1)})
    found = verdicts(two, "zero_share > 3x floor")["a"]
    assert (found.state, found.measurement.value, found.measurement.floor) == ("ok", 0, 0)


def test_n_is_that_of_the_smaller_window(tmp_path):
    run = of_windows(tmp_path / "run", {"a": draw("normal", 300)}, {"a": draw("normal", 500, seed=1)})
    assert verdicts(run, "w1_sd > 1")["a"].measurement.n == 300
    assert verdicts(run, "moved > 100%")["a"].measurement.n == 300
    assert verdicts(run, "nonfinite > 0")["a"].measurement.n == 300


def test_the_most_extreme_is_by_what_the_limit_is_about():
    few, many = Measurement("1", "", value=3, level=0.1), Measurement("2", "", value=2, level=0.5)
    assert most_extreme(parse("dead > 20%"), [few, many]) is many
    assert most_extreme(parse("dead < 20%"), [few, many]) is few


def test_percentages_are_of_recorded_units(tmp_path):
    capped = site("fc1", units=90, kept=(4, 17, 88), feeds=("ReLU",))
    values = draw("normal", N, 3).copy()
    values[1] = -1
    run = icshift.open(write_run(tmp_path / "run", [{("train", "fc1"): distribution(values)}], sites=[capped]))
    measured = verdicts(run, "dead > 30%")["fc1"].measurement
    assert (measured.value, measured.units, measured.level) == (1, 3, 1 / 3)


def test_a_level_that_few_blocks_cannot_reach_takes_no_floor_away(tmp_path):
    """Six steps a window give a floor; with all of many windows they cannot say what moved at 5 % together."""
    run = of_windows(tmp_path / "run", *({"a": normal(seed)} for seed in range(5)), steps=6)
    assert states(run, "moved > 0", all_windows=True) == {"a": "unmeasured"}
    assert states(run, "w1_sd > 9x floor", all_windows=True) == {"a": "ok"}
    assert states(run, "moved > 0") == {"a": "ok"}
