"""What icshift itself runs through a model is heard by no recorder, unless it is a probe or a replay."""

import math
import threading

import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import icshift
from icshift.inputs.data import Data, Reading, as_data
from icshift.model.sites import Sites
from icshift.model.undisturbed import undisturbed
from icshift.model.unheard import heard_by, hears, unheard
from icshift.replay.replayer import Replayer

STEPS = 4


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def batches():
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(16, 6, generator=generator), torch.arange(16) % 3) for _ in range(STEPS)]


def objective(model):
    x, y = batches()[0]
    return icshift.Objective(model, lambda: nn.functional.cross_entropy(model(x), y))


def replay(model, _):
    with Replayer(model, Sites(), math.inf) as replayer:
        replayer.replay(as_data(batches()[0][0], model, Reading(8)), "probe")


MEASUREMENTS = {
    "hessian": lambda model, _: icshift.hessian(objective(model), top=1),
    "gradient shift": lambda model, optimizer: icshift.gradient_shift(objective(model), optimizer),
    "smoothness": lambda model, _: icshift.smoothness(objective(model), 0.1),
    "loss slice": lambda model, _: icshift.loss_slice(
        objective(model), icshift.random_directions(model, 0), radius=1, points=3
    ),
    "precise statistics": lambda model, _: icshift.precise_statistics(model, batches()[0][0], batch_size=8),
    "precise statistics of a loader": lambda model, _: icshift.precise_statistics(
        model, DataLoader(TensorDataset(batches()[0][0]), batch_size=8)
    ),
    "loss": lambda model, _: objective(model).loss(),
    "replay": replay,
}


def recorded(path, measure=lambda *_: None):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with icshift.Recorder(model, path) as recorder:
        for x, y in batches():
            measure(model, optimizer)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.eval()
        measure(model, optimizer)
    assert recorder.steps == STEPS
    run = icshift.open(path)
    assert run.finished
    return run


@pytest.mark.some(3)
@pytest.mark.parametrize("measurement", MEASUREMENTS)
def test_a_measurement_within_a_recording_adds_nothing_to_it(measurement, tmp_path):
    plain, measured = recorded(tmp_path / "plain"), recorded(tmp_path / "measured", MEASUREMENTS[measurement])
    assert measured.phases == ["train"]
    pd.testing.assert_frame_equal(measured.windows(), plain.windows())
    pd.testing.assert_frame_equal(measured.steps(), plain.steps())
    assert (measured.windows()["count"] == 16 * STEPS).all()


def in_a_thread(measure):
    """The same measurement, made by another thread while this one waits."""

    def measure_there(model, optimizer):
        thread = threading.Thread(target=measure, args=(model, optimizer))
        thread.start()
        thread.join()

    return measure_there


def that_fails(model, optimizer):
    """Three measurements, each of which raises after its first forward."""
    forwards = []

    def fails_the_second_time():
        forwards.append(nn.functional.cross_entropy(model(batches()[0][0]), batches()[0][1]))
        if len(forwards) > 1:
            raise KeyError
        return forwards[-1]

    for measure in (
        lambda: icshift.hessian(icshift.Objective(model, fails_the_second_time)),
        lambda: icshift.gradient_shift(icshift.Objective(model, fails_the_second_time), optimizer),
    ):
        forwards.clear()
        with pytest.raises(KeyError):
            measure()
    with pytest.raises(icshift.ModelError):
        icshift.precise_statistics(model, [torch.ones(4, 6), torch.ones(4, 7)])


def of_every_example(model, _):
    """A loss that maps the model over examples."""
    x, y = batches()[0]
    model.eval()
    mapped = icshift.Objective(model, lambda: nn.functional.cross_entropy(torch.vmap(model)(x[:, None])[:, 0], y))
    icshift.hessian(mapped, top=1)
    model.train()


def of_replicas(model, _):
    """A loss computed as `DataParallel` does, by replicas in threads."""
    x, y = batches()[0]

    def loss():
        replica, outputs = model._replicate_for_data_parallel(), []
        threads = [threading.Thread(target=lambda: outputs.append(replica(x)))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return nn.functional.cross_entropy(outputs[0], y)

    icshift.Objective(model, loss).loss()


ODD = {
    "a measurement in a thread": in_a_thread(MEASUREMENTS["hessian"]),
    "steps in a thread": in_a_thread(MEASUREMENTS["gradient shift"]),
    "measurements that fail": that_fails,
    "a measurement with vmap": of_every_example,
    "a measurement of replicas": of_replicas,
}


@pytest.mark.some(2)
@pytest.mark.parametrize("measurement", ODD)
def test_nor_does_one_that_is_made_in_an_odd_way(measurement, tmp_path):
    plain, measured = recorded(tmp_path / "plain"), recorded(tmp_path / "measured", ODD[measurement])
    assert measured.phases == plain.phases == ["train"]
    pd.testing.assert_frame_equal(measured.steps(), plain.steps())


@pytest.mark.parametrize("measurement", ["hessian", "precise statistics", "replay"])
def test_nor_does_one_within_a_hook_of_a_forward(measurement, tmp_path):
    """The forward that is measured runs while a forward that is recorded has not ended."""
    model, (x, y) = network(), batches()[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    measured = []

    def measure_once(*_):
        if not measured:
            measured.append(True)
            MEASUREMENTS[measurement](model, optimizer)

    model[1].register_forward_hook(measure_once)
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    windows = icshift.open(tmp_path / "run").windows()
    assert measured
    assert recorder.steps == 1
    assert (windows["count"] == len(x)).all()
    assert windows["site"].unique().tolist() == ["0", "1", "3"]


@pytest.mark.thorough
def test_nor_does_one_of_a_compiled_model(tmp_path):
    model, (x, y) = network(), batches()[0]
    compiled = torch.compile(model, backend="eager")
    with icshift.Recorder(model, tmp_path / "run") as recorder:
        compiled(x)
        recorder.step()
        icshift.precise_statistics(compiled, x)
        icshift.Objective(compiled, lambda: nn.functional.cross_entropy(compiled(x), y)).loss()
    run = icshift.open(tmp_path / "run")
    assert run.phases == ["train"]
    assert (run.windows()["count"] == len(x)).all()


def test_who_trains_while_another_thread_measures_is_heard():
    listener, measuring, done = object(), threading.Event(), threading.Event()

    def measure():
        with unheard():
            measuring.set()
            done.wait()

    thread = threading.Thread(target=measure)
    thread.start()
    measuring.wait()
    try:
        assert hears(listener)
    finally:
        done.set()
        thread.join()


def test_the_probe_of_one_recorder_is_nothing_to_another(tmp_path):
    model, (x, _) = network(), batches()[0]
    with (
        icshift.Recorder(model, tmp_path / "one", probe=x) as one,
        icshift.Recorder(model, tmp_path / "other") as other,
    ):
        model(x)
        one.step()
        other.step()
        one.epoch()
    assert icshift.open(tmp_path / "one").phases == ["train", "probe"]
    found = icshift.open(tmp_path / "other")
    assert found.phases == ["train"]
    assert (found.windows()["count"] == 16).all()


def test_after_an_error_everybody_hears_again():
    listener = object()
    with pytest.raises(KeyError), unheard():  # noqa: PT012
        assert not hears(listener)
        with heard_by(listener):
            assert hears(listener)
            assert not hears(object())
            with undisturbed(network()):
                assert not hears(listener)
            assert hears(listener)
        raise KeyError
    assert hears(listener)


def test_a_replay_hears_itself():
    model, x = network(), batches()[0][0]
    with Replayer(model, Sites(), math.inf) as replayer:
        data: Data = as_data(x, model, Reading(8))
        replayer.replay(data, "probe")
        model(x)  # Somebody's own forward, between two replays.
        replayer.replay(data, "probe-batch", "batch")
        found = replayer.taken()
    assert {phase for phase, _ in found} == {"probe", "probe-batch"}
    assert all((one.count == len(x)).all() for one in found.values())
