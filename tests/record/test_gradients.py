"""Gradient shift and smoothness measured in a live training."""

import copy
import random
import weakref
from contextlib import ExitStack
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from icshift.api import Run
from icshift.errors import MeasurementError, RecordingError, SelectionError
from icshift.gradients.gradient_shift import Step
from icshift.gradients.objective import Objective
from icshift.gradients.smoothness import smoothness
from icshift.record.recorder import Recorder

STEPS = 12
OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adam": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3)
    )


def batches():
    generator = torch.Generator().manual_seed(1)
    for _ in range(STEPS):
        yield torch.randn(20, 6, generator=generator), torch.randint(0, 3, (20,), generator=generator)


def train(optimizer_of, path=None, measure=lambda *_: None):
    """Parameters, buffers, the optimizer's state, losses and all random states at the end."""
    model = network()
    optimizer = optimizer_of(model.parameters())
    recorder = None if path is None else Recorder(model, path, optimizer=optimizer, window=4)
    losses = []

    def loop():
        for x, y in batches():
            if recorder is not None:
                measure(recorder, lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
            loss = nn.functional.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())

    if recorder is None:
        loop()
    else:
        with recorder:
            loop()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    return {
        "state": copy.deepcopy(model.state_dict()),
        "optimizer": copy.deepcopy(optimizer.state_dict()["state"]),
        "gradients": gradients,
        "losses": losses,
        "draws": [torch.rand(1).item(), random.random(), np.random.rand()],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return a == b


def both(recorder, closure):
    recorder.gradient_shift(closure, every=3)
    recorder.smoothness(closure, every=4)


@pytest.mark.some(1)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_stays_bit_identical_and_nothing_more_is_recorded(optimizer, tmp_path):
    random.seed(0)
    np.random.seed(0)
    plain = train(OPTIMIZERS[optimizer])
    random.seed(0)
    np.random.seed(0)
    measured = train(OPTIMIZERS[optimizer], tmp_path / "measured", both)
    assert same(plain, measured)
    train(OPTIMIZERS[optimizer], tmp_path / "recorded")
    pd.testing.assert_frame_equal(Run(tmp_path / "measured").steps(), Run(tmp_path / "recorded").steps())


@pytest.mark.some(1)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_rows_are_those_of_a_step_measured_by_hand(optimizer, tmp_path):
    by_hand, around = [], []
    train(OPTIMIZERS[optimizer], tmp_path / "run", both)
    model = network()
    stepping = OPTIMIZERS[optimizer](model.parameters())
    for number, (x, y) in enumerate(batches()):
        objective = Objective(model, lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
        step = Step(objective) if number % 3 == 0 else None
        if number % 4 == 0:
            around.append(smoothness(objective, stepping.param_groups[0]["lr"]))
        stepping.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        stepping.step()
        if step:
            by_hand += [(number, one.layer, one.l2, one.cosine, one.norm) for one in step.measure()]
    found = Run(tmp_path / "run").gradient_shift()
    assert list(found[["step", "layer", "l2", "cosine", "norm"]].itertuples(index=False, name=None)) == by_hand
    assert (found[found["layer"] != "0"]["l2"] > 0).all()
    lines = Run(tmp_path / "run").smoothness()
    assert lines["step"].tolist() == [0, 4, 8]
    assert lines["beta_rate"].tolist() == [one.beta_rate for one in around]
    assert (lines["loss_max"] > lines["loss_min"]).all()


def test_how_it_was_measured_is_in_the_run(tmp_path):
    def measure(recorder, closure):
        recorder.gradient_shift(closure, every=5, layers=["4", "6"], counted="weights")

    train(OPTIMIZERS["sgd"], tmp_path / "run", measure)
    run = Run(tmp_path / "run")
    assert run.manifest["measured"] == {"gradient_shift": {"every": 5, "counted": "weights", "layers": ["4", "6"]}}
    assert run.gradient_shift()["layer"].unique().tolist() == ["4", "6"]
    assert run.gradient_shift()["parameters"].unique().tolist() == [16 * 8, 8 * 3]
    assert run.smoothness().empty


@pytest.mark.thorough
def test_of_two_optimizers_that_share_a_step_the_change_by_both_is_measured(tmp_path):
    def run(joint):
        model = network()
        parts = [list(model[:3].parameters()), list(model[3:].parameters())]
        optimizers = (
            [torch.optim.SGD(model.parameters(), lr=0.1)] if joint else [torch.optim.SGD(p, lr=0.1) for p in parts]
        )
        path = tmp_path / str(joint)
        with Recorder(model, path, optimizer=optimizers) as recorder:
            for x, y in batches():
                recorder.gradient_shift(lambda x=x, y=y: nn.functional.cross_entropy(model(x), y), every=2)
                model.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()
                for optimizer in optimizers[::-1]:
                    optimizer.step()
        return Run(path).gradient_shift()

    pd.testing.assert_frame_equal(run(joint=True), run(joint=False))


def test_a_step_that_was_not_taken_is_not_measured(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer) as recorder:
        for number, (x, y) in enumerate(batches()):
            recorder.gradient_shift(lambda x=x, y=y: nn.functional.cross_entropy(model(x), y), every=1)
            nn.functional.cross_entropy(model(x), y).backward()
            if number % 2:  # Every other time gradients go on accumulating.
                optimizer.step()
    assert sorted(set(Run(tmp_path / "run").gradient_shift()["step"])) == list(range(STEPS // 2))


def test_mistakes_are_told_at_once(tmp_path):
    model = network()
    recorder = Recorder(model, tmp_path / "run")
    with pytest.raises(RecordingError, match="within the recorder's with block"):
        recorder.gradient_shift(lambda: torch.zeros(1))
    with recorder:
        x, y = next(batches())
        model(x)

        def closure():
            return nn.functional.cross_entropy(model(x), y)

        with pytest.raises(RecordingError, match=r"every is .*: expected a whole number from 1"):
            recorder.gradient_shift(closure, every=0)
        with pytest.raises(SelectionError, match="no layer 'fc1'"):
            recorder.gradient_shift(closure, layers="fc1")
        with pytest.raises(MeasurementError, match="the recorder was given no optimizer"):
            recorder.smoothness(closure)
    with Recorder(model, tmp_path / "other") as recorder:
        model(x)
        with pytest.raises(MeasurementError, match="expected one number"):
            recorder.gradient_shift(lambda: model(x))
        with pytest.raises(MeasurementError, match="rate"):
            recorder.smoothness(closure, rate=-1.0)


def test_a_later_failure_ends_the_measuring_and_not_the_training(tmp_path, recwarn):
    calls = []

    def measure(recorder, closure):
        calls.append(closure)
        recorder.gradient_shift(closure if len(calls) < 4 else lambda: None)

    assert same(train(OPTIMIZERS["sgd"])["losses"], train(OPTIMIZERS["sgd"], tmp_path / "run", measure)["losses"])
    run = Run(tmp_path / "run")
    assert sorted(set(run.gradient_shift()["step"])) == [0, 1, 2]
    assert len(run.window_list) == STEPS // 4
    assert ["icshift stopped measuring the gradient shift" in str(one.message) for one in recwarn] == [True]


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    model = network()
    with Recorder(model, tmp_path / "run") as recorder:
        model(next(batches())[0])
        with pytest.raises(RecordingError, match="this one has 2"):
            recorder.gradient_shift(lambda: model(next(batches())[0]).sum())


def test_nothing_is_measured_while_paused(tmp_path):
    def measure(recorder, closure):
        with recorder.paused():
            both(recorder, closure)

    train(OPTIMIZERS["sgd"], tmp_path / "run", measure)
    assert Run(tmp_path / "run").gradient_shift().empty


@pytest.mark.thorough
def test_a_compiled_model(tmp_path):
    def losses(path):
        model = network()
        compiled = torch.compile(model, backend="eager")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        found = []
        with Recorder(model, path, optimizer=optimizer) as recorder:
            for x, y in batches():

                def closure(x=x, y=y):
                    return nn.functional.cross_entropy(compiled(x), y)

                if path.name == "measured":
                    both(recorder, closure)
                optimizer.zero_grad()
                loss = closure()
                loss.backward()
                optimizer.step()
                found.append(loss.item())
        return found

    assert losses(tmp_path / "measured") == losses(tmp_path / "plain")
    runs = [Run(tmp_path / name) for name in ("measured", "plain")]
    assert len(runs[0].gradient_shift()) == 4 * 4
    assert runs[0].windows()["count"].tolist() == runs[1].windows()["count"].tolist()


def test_windows_know_how_far_the_parameters_moved(tmp_path):
    seen = []

    def measure(recorder, _):
        seen.append([p.detach().clone() for p in recorder.model.parameters()])

    final = train(OPTIMIZERS["adam"], tmp_path / "run", measure)["state"]
    names = [name for name, _ in network().named_parameters()]
    ends = [*seen[::4], [final[name] for name in names]]
    expected = [
        float(torch.cat([(b.double() - a.double()).flatten() for a, b in zip(*pair, strict=True)]).norm())
        for pair in pairwise(ends)
    ]
    assert [w.parameter_change for w in Run(tmp_path / "run").window_list] == pytest.approx(expected, rel=1e-7)


def test_a_run_that_measured_with_gradients_is_deleted_by_force_as_any_other(tmp_path):
    for _ in range(2):
        model, (x, _) = network(), next(batches())
        with Recorder(model, tmp_path / "run", force=True) as recorder:
            model(x)
            recorder.smoothness(lambda model=model, x=x: model(x).square().mean(), rate=0.1)
    assert len(Run(tmp_path / "run").smoothness()) == 1


def adversaries(path, recorded, measure):
    """States of a generator and a discriminator at the end, and the runs of those that were recorded."""
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 6))
    first = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 16))
    discriminator = nn.Sequential(first, nn.BatchNorm1d(16), nn.LeakyReLU(), nn.Linear(16, 1))
    models = [generator, discriminator]
    optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3) for model in models]
    with ExitStack() as stack:
        recorders = [stack.enter_context(Recorder(models[i], path / str(i), optimizer=optimizers[i])) for i in recorded]
        for _, _ in batches():
            z = torch.randn(20, 4)

            def closure(z=z):
                return nn.functional.softplus(-discriminator(generator(z))).mean()

            if measure and recorders:
                both(recorders[0], closure)
            loss = closure()
            loss.backward()
            optimizers[0].step()
            discriminator.zero_grad()
            nn.functional.softplus(discriminator(generator(z).detach())).mean().backward()
            optimizers[1].step()
            generator.zero_grad()
    return [copy.deepcopy(model.state_dict()) for model in models], [Run(path / str(i)) for i in recorded]


@pytest.mark.some(1)
@pytest.mark.parametrize("recorded", [[0], [0, 1]])
def test_other_models_that_a_closure_calls_are_neither_changed_nor_recorded(recorded, tmp_path):
    plain, _ = adversaries(tmp_path, [], measure=False)
    measured, runs = adversaries(tmp_path / "measured", recorded, measure=True)
    others, quiet = adversaries(tmp_path / "recorded", recorded, measure=False)
    assert same(dict(enumerate(plain)), dict(enumerate(measured)))
    assert same(dict(enumerate(plain)), dict(enumerate(others)))
    assert len(runs[0].gradient_shift()) == 4 * 3
    for run, other in zip(runs, quiet, strict=True):
        pd.testing.assert_frame_equal(run.windows(), other.windows())


def test_a_part_of_a_model_is_measured_as_it_is_within_the_whole(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        Recorder(model, tmp_path / "whole", optimizer=optimizer) as whole,
        Recorder(model[:5], tmp_path / "part", optimizer=optimizer) as part,
    ):
        for x, y in batches():

            def closure(x=x, y=y):
                return nn.functional.cross_entropy(model(x), y)

            whole.gradient_shift(closure, layers=["0", "1", "4"])
            part.gradient_shift(closure)
            optimizer.zero_grad()
            closure().backward()
            optimizer.step()
    runs = [Run(tmp_path / name) for name in ("whole", "part")]
    assert len(runs[0].gradient_shift()) == 3 * STEPS
    pd.testing.assert_frame_equal(runs[0].gradient_shift(), runs[1].gradient_shift())


def test_a_closure_that_follows_the_loop_is_told_of(tmp_path, recwarn):
    """Gradients accumulate over two batches: at the step, names of the loop mean the second."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer) as recorder:
        for number, (x, y) in enumerate(batches()):
            if not number % 2:
                recorder.gradient_shift(lambda: nn.functional.cross_entropy(model(x), y))  # noqa: B023
            nn.functional.cross_entropy(model(x), y).backward()
            if number % 2:
                optimizer.step()
                optimizer.zero_grad()
    assert Run(tmp_path / "run").gradient_shift().empty
    assert ["at the same parameters: expected the same examples" in str(one.message) for one in recwarn] == [True]


def test_autocast_counts_that_was_on_at_the_call(tmp_path):
    def run(within, path):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with Recorder(model, path, optimizer=optimizer) as recorder:
            for x, y in batches():

                def closure(x=x, y=y):
                    with torch.autocast("cpu", torch.bfloat16):
                        return nn.functional.cross_entropy(model(x), y)

                def bare(x=x, y=y):
                    return nn.functional.cross_entropy(model(x), y)

                optimizer.zero_grad()
                if within:
                    with torch.autocast("cpu", torch.bfloat16):
                        both(recorder, bare)
                        loss = bare()
                else:
                    both(recorder, closure)
                    loss = closure()
                loss.backward()
                optimizer.step()
        return Run(path), model.state_dict()

    (inside, one), (outside, other) = run(True, tmp_path / "inside"), run(False, tmp_path / "outside")
    assert same(one, other)
    pd.testing.assert_frame_equal(inside.gradient_shift(), outside.gradient_shift())
    pd.testing.assert_frame_equal(inside.smoothness(), outside.smoothness())


def test_a_step_is_measured_once_however_often_it_is_asked_for(tmp_path):
    """In eval mode, and without new gradients, no step ends: all are step 0."""
    model = network().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer) as recorder:
        for x, y in batches():
            both(recorder, lambda x=x, y=y: nn.functional.cross_entropy(model(x), y))
            model(x)
            optimizer.step()
    assert Run(tmp_path / "run").gradient_shift()["step"].tolist() == [0] * 4
    assert Run(tmp_path / "run").smoothness()["step"].tolist() == [0]


def test_copies_of_parameters_go_before_the_next_step_that_is_not_measured(tmp_path):
    copies = []

    def measure(recorder, closure):
        recorder.gradient_shift(closure, every=100)
        if not copies:
            copies.extend(weakref.ref(p) for p in recorder._gradients._waiting.step._before.values())
            assert all(copy() is not None for copy in copies)
        elif len(copies) == 8:
            copies.append(any(copy() is not None for copy in copies))

    train(OPTIMIZERS["sgd"], tmp_path / "run", measure)
    assert copies[8:] == [False]


def test_smoothness_under_a_learning_rate_that_changes(tmp_path, recwarn):
    """It begins at 0, as in a warm-up; at step 8 there are two."""

    def measure(recorder, closure):
        (optimizer,) = recorder._optimizers
        for group, last in zip(optimizer.param_groups, (0.1, 0.2), strict=True):
            group["lr"] = min(recorder.steps / 40, 0.1) if recorder.steps < 8 else last
        recorder.smoothness(closure, every=2)

    def optimizer(parameters):
        first, *others = parameters
        return torch.optim.SGD([{"params": [first]}, {"params": others}], lr=0.1)

    train(optimizer, tmp_path / "run", measure)
    assert Run(tmp_path / "run").smoothness()[["step", "rate"]].values.tolist() == [[2, 0.05], [4, 0.1], [6, 0.1]]
    assert ["there are several: 0.1, 0.2; give rate=" in str(one.message) for one in recwarn] == [True]


def test_after_a_mistake_that_was_told_it_is_measured(tmp_path):
    def measure(recorder, closure):
        if not recorder.steps:
            with pytest.raises(SelectionError):
                recorder.gradient_shift(closure, layers="fc1")
        recorder.gradient_shift(closure, layers="4")

    train(OPTIMIZERS["sgd"], tmp_path / "run", measure)
    assert Run(tmp_path / "run").gradient_shift()["step"].tolist() == list(range(STEPS))


def test_measuring_compiles_nothing(tmp_path):
    model = network()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    made = []
    with Recorder(model, tmp_path / "run", optimizer=optimizer) as recorder:
        for x, y in batches():

            def closure(x=x, y=y):
                return nn.functional.cross_entropy(compiled(x), y)

            if made:
                recorder.gradient_shift(closure)
            optimizer.zero_grad()
            closure().backward()
            optimizer.step()
            made.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert len(set(made)) == 1
    assert Run(tmp_path / "run").gradient_shift()["step"].unique().tolist() == list(range(1, STEPS))
