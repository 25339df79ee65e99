"""Broken instruments: each is found out by a check, which the sound one passes."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis import by_site, comparison, floor, trajectory
from icshift.analysis.metrics import METRICS
from icshift.gradients import hessian
from icshift.gradients.gradient_shift import Step
from icshift.gradients.objective import with_parameters
from icshift.model.modes import evaluating
from icshift.noise import movement
from icshift.record import probe
from icshift.selfcheck import closed_forms, formulas, known_changes, sketch
from icshift.selfcheck import floor as floor_check
from icshift.selfcheck.check import Setting
from icshift.sketch.compactor import Sketch

STILL = 16
"""Windows in which nothing changes: as few as make 8 false alarms too many."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    changes = [*[known_changes._leave] * STILL, known_changes._shift_units]
    changes += [known_changes._change_all(by) for by in known_changes.WAY]
    return known_changes._recorded(tmp_path_factory.mktemp("broken") / "run", changes, seed=0)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    changes = [known_changes._leave, known_changes.break_units]
    return known_changes._recorded(tmp_path_factory.mktemp("troubled") / "run", changes, seed=0)


def seen(run):
    return known_changes._read(run, STILL)


def gradient_shift():
    return closed_forms.judge_gradient_shift(closed_forms.three_linear_layers(0)).passed


def relations():
    return closed_forms.judge_relations(closed_forms.relations(0)).passed


def of_sketch():
    setting = Setting(quick=True)
    return sketch.judge(*(sketch.sketched(each, setting) for each in (sketch.NORMAL, sketch.EXPONENTIAL))).passed


def of_floor():
    return floor_check.judge(floor_check.measure(0)).passed


def conditioning():
    return formulas.judge_conditioning(formulas.two_features()).passed


def estimators():
    sound = formulas.Compared(1.0, 1.0)
    return formulas.judge_estimators({"left out": sound}, sound, formulas.against_scipy(0)).passed


def test_the_sound_instrument_passes(run, troubled):
    assert all(check() for check in (gradient_shift, relations, of_sketch, of_floor, conditioning, estimators))
    for judge in (known_changes.judge_still, known_changes.judge_shift, known_changes.judge_path):
        assert judge(seen(run)).passed
    assert health(troubled)


def health(troubled):
    return known_changes.judge_health(troubled.report(phase="probe").set_index("site")).passed


def test_a_gradient_shift_that_also_updates_the_layer_itself(monkeypatch):
    def after(self, layer):
        moved = {p for one in self._layers[: self._layers.index(layer) + 1] for p in one.parameters}
        values = [p.data if p in moved else old for p, old in self._before.items()]
        with with_parameters(list(self._before), values):
            return self._objective.gradient(layer.parameters)

    monkeypatch.setattr(Step, "_after", after)
    assert not gradient_shift()


def test_a_gradient_shift_that_updates_all_other_layers(monkeypatch):
    def after(self, layer):
        own = set(layer.parameters)
        values = [old if p in own else p.data for p, old in self._before.items()]
        with with_parameters(list(self._before), values):
            return self._objective.gradient(layer.parameters)

    monkeypatch.setattr(Step, "_after", after)
    assert not gradient_shift()


@pytest.mark.thorough
def test_a_sketch_that_always_keeps_the_upper_neighbour(monkeypatch):
    right = Sketch._compact

    def compact(self, height):
        self._offset[height] = 2
        right(self, height)

    monkeypatch.setattr(Sketch, "_compact", compact)
    assert not of_sketch()


def test_a_sketch_that_leaves_its_error_out_of_the_bound(monkeypatch):
    right = Sketch._compact

    def compact(self, height):
        right(self, height)
        self.moved[:] = 0

    monkeypatch.setattr(Sketch, "_compact", compact)
    assert not of_sketch()


@pytest.mark.some(1)
@pytest.mark.parametrize("factor", [100, 2, 0.2])
def test_a_floor_of_another_size(factor, monkeypatch, run):
    right = floor.noise
    scaled = lambda apart: replace(noise := right(apart), signs=factor * noise.signs)  # noqa: E731
    monkeypatch.setattr(floor, "noise", scaled)
    assert not of_floor()
    assert not known_changes.judge_still(seen(run)).passed


@pytest.mark.thorough
def test_p_is_0_everywhere(monkeypatch, run):
    monkeypatch.setattr(movement, "_stepped_down", lambda statistics: dict.fromkeys(statistics, 0.0))
    assert not known_changes.judge_still(seen(run)).passed


def test_nothing_ever_moved(monkeypatch, run):
    monkeypatch.setattr(movement, "_stepped_down", lambda statistics: dict.fromkeys(statistics, 1.0))
    assert not known_changes.judge_shift(seen(run)).passed


def test_all_units_of_a_site_that_moved(monkeypatch, run):
    monkeypatch.setattr(movement, "discoveries", lambda p: np.ones(len(p), bool))
    assert not known_changes.judge_shift(seen(run)).passed


def test_nothing_can_ever_be_told(monkeypatch, run):
    monkeypatch.setattr(movement, "matching", lambda *_: None)
    assert not known_changes.judge_still(seen(run)).passed


def test_a_floor_that_is_never_known(monkeypatch, run):
    monkeypatch.setattr(comparison, "floor", lambda _, a, *__: np.full(a.units, np.nan))
    assert not known_changes.judge_still(seen(run)).passed


@pytest.mark.parametrize(("name", "value"), [("sliced_w2", 42.0), ("cka_distance", 0.5), ("displacement", 1.0)])
def test_a_constant(name, value, monkeypatch):
    right = METRICS[name]
    monkeypatch.setitem(METRICS, name, replace(right, function=lambda *two: np.full_like(right.function(*two), value)))
    assert not relations()


def test_health_that_always_says_ok(monkeypatch, troubled):
    right = by_site.health

    def ok(*about):
        return replace(right(*about), dead=0, saturated=0, near_constant=0, nonfinite=0, unknown="")

    monkeypatch.setattr(by_site, "health", ok)
    assert not health(troubled)


class Numpy:
    """NumPy with another absolute value."""

    def __init__(self, absolute):
        self.abs = absolute

    def __getattr__(self, name):
        return getattr(np, name)


@pytest.mark.some(1)
@pytest.mark.parametrize("wrong", [lambda values: values, np.square], ids=["signed", "squared"])
def test_a_path_that_sums_something_else(wrong, monkeypatch, run):
    monkeypatch.setattr(trajectory, "np", Numpy(wrong))
    assert not known_changes.judge_path(seen(run)).passed


def test_eigenvalues_that_are_off_by_5_percent(monkeypatch):
    right = hessian._spectrum
    monkeypatch.setattr(
        hessian,
        "_spectrum",
        lambda *given, **named: replace(found := right(*given, **named), eigenvalues=1.05 * found.eigenvalues),
    )
    assert not conditioning()


def test_w1_with_one_value_dropped(monkeypatch):
    right = METRICS["w1"].function
    dropped = replace(METRICS["w1"], function=lambda a, b: right(a, replace(b, values=b.values[:, :-1])))
    monkeypatch.setitem(METRICS, "w1", dropped)
    assert not estimators()


@pytest.mark.thorough
def test_a_probe_by_running_averages(monkeypatch, tmp_path):
    monkeypatch.setattr(probe, "as_trained", lambda model, *_: evaluating(model))
    changes = [*[known_changes._leave] * 2, known_changes._shift_units, *map(known_changes._change_all, (1, 1, 1))]
    broken = known_changes._recorded(tmp_path / "run", changes, seed=0)
    assert known_changes._read(broken, 2).probe > 0
    assert not known_changes.judge_still(known_changes._read(broken, 2)).passed
