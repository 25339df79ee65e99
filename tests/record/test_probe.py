"""A probe is the same inputs every time, and replaying it disturbs nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import icshift
from icshift.distribution import EXAMPLES
from icshift.errors import RecordingError
from icshift.inputs.data import Data
from icshift.model.sites import Sites
from icshift.model.undisturbed import undisturbed
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.replay.replayer import Replayer
from icshift.runs.reader import StoredRun
from tests.oracles.hooks import Witness, assert_moments, by_unit
from tests.zoo.models import ZOO, Specimen, specimens


def build(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(7)
    model, make_batch = specimens(name)[0].build()
    rng = np.random.default_rng(7)
    return model, lambda: make_batch(rng)[0][0]


def assert_same_distribution(run: StoredRun, phase: str, site: str) -> None:
    """Every window holds the very same distribution, so that any distance between them is exactly 0."""
    first, *others = (run.distribution(phase, site, window.index) for window in run.window_list)
    assert others
    for other in others:
        for name in ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "values", "examples"):
            np.testing.assert_array_equal(getattr(first, name), getattr(other, name), err_msg=f"{site} {name}")


@pytest.mark.some(4)
@pytest.mark.covering(1)
@pytest.mark.parametrize(
    "name",
    [
        "mlp",
        "bn_mlp",
        "conv2d",
        "dropout",
        "inplace_on_its_input",
        "spectral_norm",
        "bfloat16",
        "gru",
        "attention",
        "encoder_layer",
        "decoder",
        "checkpoint_reentrant",
    ],
)
@pytest.mark.parametrize("samples", [3, "all"])
def test_the_probe_of_a_frozen_net_never_drifts(name: str, samples: Any, tmp_path: Path) -> None:
    """With nothing learned, nothing moves in either phase, whatever passes through the model between the windows."""
    model, batch = build(name)
    model.eval()
    probe = Probe(batch(), batch_size=3, train_mode=name not in ("dropout", "encoder_layer", "checkpoint_reentrant"))
    kept = probe.inputs.clone()
    with Recorder(model, tmp_path / "run", sites=Sites("*", max_units=4), probe=probe, samples=samples) as recorder:
        for _ in range(3):
            model(batch())
            recorder.epoch()
            assert torch.equal(probe.inputs, kept), "the model wrote into the probe"
    run = StoredRun(tmp_path / "run")
    assert sorted(run.phases) == ["eval", "probe", "probe-train"][: 2 + probe.train_mode]
    for phase in sorted(run.phases)[1:]:
        for site in run.sites:
            assert_same_distribution(run, phase, site.name)


def test_a_probe_larger_than_its_sample_is_drawn_at_the_same_places_every_time(tmp_path: Path) -> None:
    model = nn.Conv2d(1, 2, 3).eval()
    probe = Probe(torch.randn(30, 1, 10, 10), batch_size=20)
    with Recorder(model, tmp_path / "run", probe=probe) as recorder:
        for _ in range(3):
            model(torch.randn(5, 1, 10, 10))
            recorder.epoch()
    run = StoredRun(tmp_path / "run")
    distribution = run.distribution("probe", "(model)", 1)
    assert distribution.count.tolist() == [30 * 64] * 2
    assert distribution.sampled.tolist() == [1024 + 640] * 2
    assert_same_distribution(run, "probe", "(model)")


def test_the_probe_shows_what_the_parameters_alone_do(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    inputs = torch.randn(20, 4)
    with Recorder(model, tmp_path / "run", probe=inputs) as recorder:
        for window in (1, 2):
            model(torch.randn(8, 4))
            recorder.epoch()
            with torch.no_grad():
                expected = model(inputs).double().numpy()
                model.bias += 1.0
            assert_moments(StoredRun(tmp_path / "run").distribution("probe", "(model)", window), expected)
    run = StoredRun(tmp_path / "run")
    first, second = (run.distribution("probe", "(model)", window) for window in (1, 2))
    np.testing.assert_allclose(second.values - first.values, 1.0, atol=1e-5)
    assert first.blocks is None, "the same inputs every time: there is no sampling noise to take a floor from"


def test_in_train_mode_a_probe_is_normalised_by_its_own_batches(tmp_path: Path) -> None:
    model = nn.BatchNorm1d(4)
    probe = Probe(3 + 5 * torch.randn(64, 4), train_mode=True, running=True)
    with Recorder(model, tmp_path / "run", probe=probe) as recorder:
        model(torch.randn(8, 4))
        recorder.epoch()
    run = StoredRun(tmp_path / "run")
    assert sorted(run.phases) == ["probe", "probe-running", "probe-train", "train"]
    evaluated = run.distribution("probe-running", "(model)", 1)
    for phase in ("probe-train", "probe"):
        trained = run.distribution(phase, "(model)", 1)
        np.testing.assert_allclose(trained.mean, 0, atol=1e-5)
        np.testing.assert_allclose(trained.std, 1, atol=1e-3)
    assert (evaluated.mean > 1).all()


def test_a_probe_is_replayed_at_the_end_of_every_window_and_makes_no_step(tmp_path: Path) -> None:
    model, batch = build("mlp")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    oracle = Witness({"4": model[4]}, calls=None)
    inputs = batch()
    with Recorder(model, tmp_path / "run", window=2, probe=inputs, samples="all"):
        for _ in range(5):
            model(batch()).sum().backward()
            optimizer.step()
    run = StoredRun(tmp_path / "run")
    assert [run.distribution("probe", "4", window.index) is None for window in run.window_list] == [False] * 3
    assert run.manifest["steps"] == 5
    assert sorted(set(run.steps().phase)) == ["train"]
    oracle.end()
    rehearsal_train_train_probe = oracle.steps[0]
    assert len(rehearsal_train_train_probe["4"]) == 1
    assert_moments(run.distribution("probe", "4", 1), by_unit(oracle.steps[0]["4#4"], run.site("4")))


class Coded(nn.Module):
    """Two convolutions that keep what tells an activation's place, and a third site of other places."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1)
        self.head = nn.Linear(2, 3)
        with torch.no_grad():
            for conv in (self.one, self.two):
                conv.weight.zero_()
                conv.weight[:, 0], conv.bias[:] = 1, torch.arange(len(conv.bias)).float() * 1e6

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.one(x)).mean((2, 3)))


@pytest.mark.some(3)
@pytest.mark.parametrize("batch_size", [7, 20, 50])
@pytest.mark.parametrize("max_units", [2, 100])
def test_examples_are_the_same_places_in_every_window_site_and_phase(
    batch_size: int, max_units: int, tmp_path: Path
) -> None:
    model, inputs = Coded(), torch.arange(50.0 * 36).reshape(50, 1, 6, 6)
    probe = Probe(inputs, batch_size=batch_size, train_mode=True)
    with Recorder(model, tmp_path / "run", sites=Sites("*", max_units=max_units), probe=probe) as recorder:
        for _ in range(3):
            model(torch.randn(5, 1, 6, 6))
            recorder.epoch()
            with torch.no_grad():
                model.two.bias += 1
    run = StoredRun(tmp_path / "run")
    places = run.distribution("probe", "one", 1).examples
    kept = np.array(run.site("one").kept or range(4))
    assert places.shape == (min(max_units, 4), EXAMPLES)
    np.testing.assert_array_equal(places - 1e6 * kept[:, None], places[:1] - 1e6 * kept[0] + 0 * places)
    of_batch = np.bincount(((places[0] - 1e6 * kept[0]) // (36 * batch_size)).astype(int))
    assert len(of_batch) == probe.forwards
    assert max(of_batch) - min(of_batch) <= 1
    for window in (1, 2, 3):
        for phase in ("probe", "probe-train"):
            np.testing.assert_array_equal(run.distribution(phase, "one", window).examples, places)
            np.testing.assert_array_equal(
                run.distribution(phase, "two", window).examples[0] - (window - 1), places[0] - 1e6 * kept[0]
            )
            assert run.distribution(phase, "head", window).examples.shape[1] == 50
        assert run.distribution("train", "one", window).examples is None


def test_examples_are_the_activations_in_order_and_move_with_the_parameters(tmp_path: Path) -> None:
    model, inputs = nn.Linear(4, 3), torch.randn(40, 4)
    inputs[7, 2] = torch.nan
    expected = []
    with Recorder(model, tmp_path / "run", probe=Probe(inputs, batch_size=16)) as recorder:
        for _ in range(2):
            model(torch.randn(8, 4))
            recorder.epoch()
            with torch.no_grad():
                expected.append(nn.functional.linear(inputs, model.weight, model.bias).numpy().T)
                model.weight += 0.1 * torch.randn(3, 4)
    run = StoredRun(tmp_path / "run")
    for window in (1, 2):
        found = run.distribution("probe", "(model)", window).examples
        np.testing.assert_allclose(found, expected[window - 1], rtol=1e-5, atol=1e-6)
        assert np.isnan(found[:, 7]).all()
    moved = icshift.open(tmp_path / "run").drift("displacement", phase="probe")
    np.testing.assert_allclose(moved["value"], np.nanmean(np.abs(expected[1] - expected[0]), axis=1), rtol=1e-5)
    assert moved["n"].tolist() == [39] * 3


def test_examples_are_in_the_precision_of_the_activations(tmp_path: Path) -> None:
    for dtype, expected in ((torch.float64, np.float64), (torch.bfloat16, np.float32)):
        model, inputs = nn.Linear(4, 3, dtype=dtype), torch.randn(2, 400, 4, dtype=dtype)
        with Recorder(model, tmp_path / str(dtype), probe=inputs) as recorder:
            model(inputs)
            recorder.epoch()
        found = StoredRun(tmp_path / str(dtype)).distribution("probe", "(model)", 1).examples
        assert (found.dtype, found.shape) == (expected, (3, EXAMPLES))
        every = {tuple(row) for row in model(inputs).detach().double().reshape(-1, 3).tolist()}
        assert {tuple(row) for row in found.T.astype(float).tolist()} <= every


def test_a_replayed_model_has_the_same_examples_whatever_the_phase(tmp_path: Path) -> None:
    model, inputs = Coded().eval(), torch.arange(50.0 * 36).reshape(50, 1, 6, 6)
    batches = tuple(((part,), {}) for part in inputs.split(20))
    with Replayer(model, Sites(None), 64) as replayer:
        replayer.replay(Data("data", batches, 50, 0), "probe")
        replayer.replay(Data("data", batches, 50, 0), "probe-precise")
        seen = {(phase, site.name): one for (phase, site), one in replayer.taken().items()}
    with Recorder(model, tmp_path / "run", probe=Probe(inputs, batch_size=20)) as recorder:
        model(inputs[:5])
        recorder.epoch()
    recorded = StoredRun(tmp_path / "run").distribution("probe", "one", 1).examples
    for phase in ("probe", "probe-precise"):
        np.testing.assert_array_equal(seen[phase, "one"].examples, recorded)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.seen = nn.Linear(4, 3), []

    def forward(self, x: Tensor, y: Tensor, scale: float = 1.0) -> Tensor:
        self.seen.append((len(x), len(y), scale))
        return self.linear(x + scale * y)


@pytest.mark.parametrize(
    ("form", "scale"),
    [
        (lambda x, y: (x, y), 1.0),
        (lambda x, y: (x, y, 2.0), 2.0),
        (lambda x, y: {"x": x, "y": y, "scale": 2.0}, 2.0),
        (lambda x, y: {"y": y, "x": x}, 1.0),
    ],
)
def test_a_probe_may_be_a_tuple_or_a_mapping_and_is_cut_into_batches(
    form: Callable[[Tensor, Tensor], Any], scale: float, tmp_path: Path
) -> None:
    model, x, y = TwoInputs(), torch.randn(10, 4), torch.randn(10, 4)
    expected = model(x, y, scale).detach().double().numpy()
    with Recorder(model, tmp_path / "run", probe=Probe(form(x, y), batch_size=4)) as recorder:
        model.seen.clear()
        model(x, y)
        recorder.epoch()
    assert model.seen == [(10, 10, 1.0), (4, 4, scale), (4, 4, scale), (2, 2, scale)]
    assert_moments(StoredRun(tmp_path / "run").distribution("probe", "linear", 1), expected)


@pytest.mark.parametrize("inputs", [(), (1, "a"), torch.ones(0, 4), (torch.ones(3, 4), torch.ones(4, 4)), {"x": 3.0}])
def test_a_probe_without_examples_is_refused_at_once(inputs: Any, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="one and the same length"):
        Recorder(nn.Linear(4, 3), tmp_path / "run", probe=inputs)


def test_a_probe_that_does_not_pass_through_the_model_is_an_error_before_the_training(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with pytest.raises(RecordingError, match=r"probe.*Sequential.*shapes"):  # noqa: SIM117
        with Recorder(model, tmp_path / "run", probe=torch.ones(5, 7)):
            pytest.fail("the block was entered")
    assert not (tmp_path / "run").exists()
    assert model.training
    assert not model._forward_hooks
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_a_probe_that_fails_later_warns_once_and_the_training_goes_on(tmp_path: Path) -> None:
    model, inputs = nn.Sequential(nn.Linear(4, 3)), torch.ones(5, 4)
    with Recorder(model, tmp_path / "run", probe=inputs) as recorder:
        model(inputs)
        recorder.epoch()
        inputs.resize_(10, 2)
        model(torch.ones(5, 4))
        with pytest.warns(RuntimeWarning, match="probe"):
            recorder.epoch()
        model(torch.ones(5, 4))
        recorder.epoch()  # A second warning would be an error here.
        assert model.training
    run = StoredRun(tmp_path / "run")
    assert [run.distribution("train", "0", window).count[0] for window in (1, 2, 3)] == [5, 5, 5]
    assert run.distribution("probe", "0", 1) is not None
    assert run.distribution("probe", "0", 3) is None


@pytest.mark.some(20)
@pytest.mark.parametrize("specimen", ZOO, ids=lambda specimen: specimen.name)
def test_whatever_happens_undisturbed_leaves_a_model_and_all_generators_as_they_were(specimen: Specimen) -> None:
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    args, kwargs = make_batch(np.random.default_rng(7))
    model(*args, **kwargs)
    list(model.modules())[-1].eval()
    state = {name: buffer.clone() for name, buffer in model.named_buffers()}
    objects = {name: dict(vars(module)) for name, module in model.named_modules()}
    generators = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    with pytest.raises(KeyboardInterrupt), undisturbed(model):  # noqa: PT012
        model.train()
        model(*args, **kwargs)
        torch.rand(3), random.random(), np.random.rand(3)
        model.new_attribute = torch.ones(3)
        model.register_buffer("new_buffer", torch.ones(3))
        assert not torch.is_grad_enabled()
        raise KeyboardInterrupt
    assert {name: dict(vars(module)) for name, module in model.named_modules()}.keys() == objects.keys()
    for name, module in model.named_modules():
        assert vars(module).keys() == objects[name].keys()
        assert all(value is objects[name][key] for key, value in vars(module).items())
    assert list(dict(model.named_buffers())) == list(state)
    assert all(torch.equal(buffer, state[name]) for name, buffer in model.named_buffers())
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (random.getstate(), str(np.random.get_state())) == generators[1:]
    assert torch.is_grad_enabled()


def test_a_probe_of_a_lazily_initialised_model_is_first_replayed_after_its_first_forward(tmp_path: Path) -> None:
    model, batch = build("lazy_linear")
    inputs = batch()
    with Recorder(model, tmp_path / "run", probe=inputs) as recorder:
        assert isinstance(model[0], nn.LazyLinear), "the rehearsal must not initialise the model"
        model(batch())
        recorder.epoch()
    assert StoredRun(tmp_path / "run").distribution("probe", "0", 1).count.tolist() == [12] * 8


def test_a_probe_leaves_gradients_alone(tmp_path: Path) -> None:
    model, batch = build("mlp")
    with Recorder(model, tmp_path / "run", probe=batch().requires_grad_()) as recorder:
        loss = model(batch()).sum()
        recorder.epoch()
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        recorder.epoch()
    assert all(torch.equal(p.grad, gradient) for p, gradient in zip(model.parameters(), gradients, strict=True))


def test_a_probe_puts_the_mode_of_a_torchscript_part_back(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
    model, inputs = nn.Sequential(nn.Linear(4, 3), scripted), torch.randn(6, 4)
    _, linear, norm = scripted.modules()
    before = norm.running_mean.clone()
    linear.eval()
    with Recorder(model, tmp_path / "run", probe=Probe(inputs, train_mode=True)) as recorder:
        model[0](inputs)
        recorder.epoch()
    assert [module.training for module in scripted.modules()] == [True, False, True]
    assert torch.equal(norm.running_mean, before)
    assert StoredRun(tmp_path / "run").distribution("probe-train", "0", 1).count.tolist() == [6] * 3


class Detector(nn.Module):
    """Takes a list of images of any size, as those of torchvision do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, images: list[Tensor]) -> Tensor:
        return torch.stack([self.conv(image[None]).mean() for image in images])


def test_a_list_of_tensors_is_a_list_of_examples(tmp_path: Path) -> None:
    images = [torch.randn(3, 4 + n, 5) for n in range(5)]
    probe = Probe(images, batch_size=2)
    assert (probe.size, probe.forwards) == (5, 3)
    assert [len(batch) for (batch,), _ in probe.batches()] == [2, 2, 1]
    assert probe.fingerprint != Probe(images[::-1]).fingerprint
    model = Detector()
    with Recorder(model, tmp_path / "run", probe=images) as recorder:
        model(images).sum().backward()
        recorder.step()
    seen = StoredRun(tmp_path / "run")
    pixels = sum(image[0].numel() for image in images)
    assert sum(int(seen.distribution("probe", site.name, 1).count[0]) for site in seen.sites) == pixels


def test_a_list_that_was_meant_as_several_arguments_is_told(tmp_path: Path) -> None:
    model = nn.Bilinear(3, 3, 2)
    with pytest.raises(RecordingError, match=r"a list is one argument, of examples: several arguments are a tuple"):
        Recorder(model, tmp_path / "run", probe=[torch.ones(4, 3), torch.ones(4, 3)]).__enter__()
    with pytest.raises(RecordingError, match=r"at least 1: got list"):
        Recorder(model, tmp_path / "run", probe=[1, 2])
