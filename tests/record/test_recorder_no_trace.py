"""Training with a recorder is bit-identical to training without, and afterwards nothing of it is left."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim import optimizer as optimizer_hooks

from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.runs.reader import Run
from tests.zoo.models import CALLED_OTHERWISE, ZOO, Specimen, as_a_whole, specimens

STEPS = 5

each = pytest.mark.parametrize("specimen", [*ZOO, *CALLED_OTHERWISE], ids=lambda specimen: specimen.name)

Watch = Callable[[nn.Module, torch.optim.Optimizer, Any], AbstractContextManager[Any]]


def unwatched(*_: Any) -> AbstractContextManager[None]:
    return nullcontext()


def watched(path: Path, **options: Any) -> Watch:
    """Record as closely as can be: everything, every value, a probe in both modes, small windows."""
    everything = {"sites": "*", "samples": "all", "window": 2}
    return lambda model, optimizer, probe: Recorder(
        model, path, optimizer=optimizer, probe=probe, **{**everything, **options}
    )


class Trained(NamedTuple):
    model: nn.Module
    optimizer: torch.optim.Optimizer
    numbers: dict[str, Any]
    """Every number that training leaves behind, as bytes."""


def train(specimen: Specimen, watch: Watch, stop: BaseException | None = None) -> Trained:
    """A few steps with evaluations in between; with `stop`, that is raised after the third step."""
    torch.manual_seed(7)
    np.random.seed(7)
    random.seed(7)
    model, make_batch = specimen.build()
    rng = np.random.default_rng(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    args, kwargs = make_batch(rng)
    plain = len(args) == 1 and not kwargs and specimen.call is as_a_whole
    numbers: dict[str, Any] = {}
    with pytest.raises(type(stop)) if stop else nullcontext():  # noqa: SIM117
        with watch(
            model, optimizer, Probe(args[0].clone(), batch_size=5, train_mode=True) if plain else None
        ) as recorder:
            for step in range(STEPS):
                args, kwargs = make_batch(rng)
                optimizer.zero_grad()
                loss = specimen.loss(specimen.call(model, *args, **kwargs))
                loss.backward()
                optimizer.step()
                specimen.alter(model, optimizer, step)
                numbers[f"loss {step}"] = as_bytes(loss)
                if step % 2:
                    model.eval()
                    with torch.no_grad():
                        numbers[f"evaluation {step}"] = as_bytes(specimen.loss(specimen.call(model, *args, **kwargs)))
                    model.train()
                if step == 2 and stop:
                    raise stop
                if step == 2 and recorder:
                    recorder.epoch()
    return Trained(model, optimizer, numbers | left_behind(model, optimizer))


def left_behind(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    tensors = dict(model.named_parameters()) | {f"{name} (buffer)": buffer for name, buffer in model.named_buffers()}
    gradients = {f"{name} (gradient)": p.grad for name, p in model.named_parameters() if p.grad is not None}
    momenta = [state["momentum_buffer"] for state in optimizer.state.values()]
    return {
        **{name: as_bytes(tensor) for name, tensor in (tensors | gradients).items()},
        "momenta": [as_bytes(momentum) for momentum in momenta],
        "torch's generator": as_bytes(torch.get_rng_state()),
        "NumPy's generator": [str(part) for part in np.random.get_state()],
        "Python's generator": random.getstate(),
        "modes": {name: module.training for name, module in model.named_modules()},
        "plain attributes": {
            f"{name}.{key}": as_bytes(value) if isinstance(value, Tensor) else value
            for name, module in model.named_modules()
            for key, value in vars(module).items()
            if isinstance(value, (int, float, str, Tensor))
        },
        "attributes": {name: list(vars(module)) for name, module in model.named_modules()},
        "hooks": hooks_on(model),
        "tensor hooks": {name: bool(tensor._backward_hooks) for name, tensor in tensors.items()},
        "optimizer's attributes": list(vars(optimizer)),
        "optimizer's hooks": [
            len(hooks)
            for hooks in (
                optimizer._optimizer_step_post_hooks,
                optimizer._optimizer_step_pre_hooks,
                optimizer_hooks._global_optimizer_post_hooks,
                optimizer_hooks._global_optimizer_pre_hooks,
            )
        ],
    }


def as_bytes(tensor: Tensor) -> tuple[Any, ...]:
    flat = tensor.detach().reshape(-1).contiguous()
    return tensor.dtype, tuple(tensor.shape), tensor.stride(), flat.view(torch.uint8).numpy().tobytes()


def hooks_on(model: nn.Module) -> dict[str, int]:
    """How many hooks, of any kind there is, every module has."""
    return {
        f"{name}.{key}": len(value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if "hooks" in key
    }


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert list(found) == list(expected)
    differing = [key for key in expected if found[key] != expected[key]]
    assert not differing, f"changed by the recorder: {differing}"


def train_and_listen(specimen: Specimen, watch: Watch) -> tuple[Trained, set[str]]:
    """The same, with what was warned of."""
    with warnings.catch_warnings(record=True, action="always") as caught:
        return train(specimen, watch), {str(warning.message) for warning in caught}


@each
def test_training_with_a_recorder_is_bit_identical_to_training_without(specimen: Specimen, tmp_path: Path) -> None:
    expected, warned = train_and_listen(specimen, unwatched)
    found, also_warned = train_and_listen(specimen, watched(tmp_path / "run"))
    assert_same(found.numbers, expected.numbers)
    assert not {text for text in also_warned - warned if not text.startswith("icshift stopped recording")}
    assert Run(tmp_path / "run").sites, "nothing was recorded, so nothing was tested"


@each
def test_training_with_the_recorders_defaults_is_bit_identical_too(specimen: Specimen, tmp_path: Path) -> None:
    expected = train(specimen, unwatched)
    defaults = {"sites": None, "samples": 64, "window": None}
    found = train(specimen, lambda model, _, probe: watched(tmp_path / "run", **defaults)(model, None, probe))
    assert_same(found.numbers, expected.numbers)
    assert Run(tmp_path / "run").sites, "nothing was recorded, so nothing was tested"


@each
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_in_the_with_block_leaves_no_trace_either(
    specimen: Specimen, error: type[BaseException], tmp_path: Path
) -> None:
    expected = train(specimen, unwatched, stop=error("stop"))
    found = train(specimen, watched(tmp_path / "run"), stop=error("stop"))
    assert_same(found.numbers, expected.numbers)
    assert Run(tmp_path / "run").finished


class Bomb(nn.Module):
    """Raises in its second forward."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__()
        self.error, self.calls = error, 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 2:
            raise self.error("inside of a forward")
        return x


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_inside_of_a_forward_leaves_no_hook(error: type[BaseException], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Bomb(error), nn.Linear(4, 2))
    before = hooks_on(model)
    with pytest.raises(error), Recorder(model, tmp_path / "run") as recorder:  # noqa: PT012
        assert hooks_on(model) != before
        model(torch.ones(3, 4))
        recorder.step()
        model(torch.ones(3, 4))
    assert hooks_on(model) == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_a_forward_that_raised_recording_goes_on(error: type[BaseException], tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), Bomb(error), nn.Linear(4, 2))
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(3):
            try:
                model(torch.ones(3, 4))
            except (ValueError, KeyboardInterrupt):
                continue
            recorder.step()
    run = Run(tmp_path / "run")
    assert [site.name for site in run.sites] == ["0", "2"]
    assert run.distribution("train", "0", 1).count.tolist() == [9] * 4
    assert run.distribution("train", "2", 1).count.tolist() == [6] * 2


def test_a_forward_that_raised_is_over(tmp_path: Path) -> None:
    """So a part that is called alone afterwards is not taken for a second call within it."""
    model = nn.Sequential(nn.Linear(4, 4), Bomb(ValueError), nn.Linear(4, 2)).eval()
    with Recorder(model, tmp_path / "run"):
        model(torch.ones(3, 4))
        with pytest.raises(ValueError, match="inside"):
            model(torch.ones(4, 4))
        model[0](torch.ones(5, 4))
    run = Run(tmp_path / "run")
    assert [site.name for site in run.sites] == ["0", "2"]
    assert run.distribution("eval", "0", 1).count.tolist() == [12] * 4


class Widening(nn.Linear):
    """Gives more units with every forward: it cannot be one site."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x).repeat(1, self.calls)


class WithWidening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.odd, self.head = nn.Linear(6, 5), Widening(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.odd(self.body(x))[:, :5])


def test_a_site_that_cannot_be_recorded_warns_once_is_in_the_ledger_and_disturbs_nothing(tmp_path: Path) -> None:
    make_batch = specimens("mlp")[0].build()[1]
    specimen = Specimen("widening", lambda: (WithWidening(), make_batch), lambda output: output.square().sum())
    expected = train(specimen, unwatched)
    with pytest.warns(RuntimeWarning, match="odd") as warned:
        found = train(specimen, watched(tmp_path / "run", sites=["body", "odd", "head"]))
    assert_same(found.numbers, expected.numbers)
    assert len(warned) == 1
    run = Run(tmp_path / "run")
    states = {entry["module"]: entry for entry in run.manifest["ledger"]}
    assert states["odd"]["state"] == "failed"
    assert "10" in states["odd"]["reason"]
    assert states["body"]["state"] == states["head"]["state"] == "observed"
    steps = run.steps("train")
    assert steps[steps.site == "head"].step.unique().tolist() == list(range(STEPS))


def test_a_run_directory_that_vanishes_ends_the_recording_and_not_the_training(tmp_path: Path) -> None:
    specimen = specimens("mlp")[0]
    expected = train(specimen, unwatched)
    theirs: list[Any] = []

    @contextmanager
    def vanishing(model: nn.Module, optimizer: torch.optim.Optimizer, _: Any) -> Iterator[Recorder]:
        with Recorder(model, tmp_path / "run", optimizer=optimizer, window=2) as recorder:
            handle = optimizer.register_step_post_hook(lambda *_: theirs.append(len(model[0]._forward_hooks)))
            shutil.rmtree(tmp_path / "run")
            yield recorder
        handle.remove()

    with pytest.warns(RuntimeWarning, match="stopped recording to"):
        found = train(specimen, vanishing)
    assert_same(found.numbers, expected.numbers)
    assert theirs == [1, 0, 0, 0, 0], "the hooks go when the first window cannot be written, other hooks are called"


def test_no_activation_is_kept_alive(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
        for mode in (True, False):
            output = model.train(mode)(torch.ones(5, 4))
            reference, storage = weakref.ref(output), weakref.ref(output.untyped_storage())
            del output
            assert reference() is None
            assert storage() is None
            recorder.step()


# A model that is traced while it is recorded

TRACED = specimens("bn_mlp", "conv2d", "residual", "attention", "relu_twice", "shared_linear", "list_output")
traced = pytest.mark.parametrize("specimen", TRACED, ids=lambda specimen: specimen.name)


def built(specimen: Specimen) -> tuple[nn.Module, tuple[Any, ...]]:
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    return model.eval(), make_batch(np.random.default_rng(7))[0]


def while_recording(
    model: nn.Module, args: tuple[Any, ...], path: Path, trace: Callable[[], Any], **options: Any
) -> Any:
    """What `trace` gives between two forwards of a model that is recorded, of which both count, and nothing else."""
    with Recorder(model, path, sites="*", **options) as recorder:
        model(*args)
        recorder.epoch("before")
        found = trace()
        recorder.epoch("traced")
        model(*args)
        recorder.epoch("after")
    run = Run(path)
    assert [window.name for window in run.window_list] == ["before", "after"]
    for site in run.sites:
        first, second = (run.distribution("eval", site.name, window.index) for window in run.window_list)
        assert first.count.tolist() == second.count.tolist()
    return found


@traced
@pytest.mark.parametrize("strict", [True, False], ids=["strict", "non-strict"])
def test_an_export_of_a_watched_model_is_that_of_the_model(specimen: Specimen, strict: bool, tmp_path: Path) -> None:
    model, args = built(specimen)

    def export() -> torch.export.ExportedProgram:
        return torch.export.export(model, args, strict=strict)

    expected = export()
    found = while_recording(model, args, tmp_path / "run", export, mask=lambda x: torch.zeros(len(x)) > 0)
    assert found.graph_module.code == expected.graph_module.code
    assert str(found.graph_signature) == str(expected.graph_signature)


@traced
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_jit_trace_of_a_watched_model_is_that_of_the_model(specimen: Specimen, tmp_path: Path) -> None:
    model, args = built(specimen)

    def trace() -> list[str]:
        made = torch.jit.trace(model, args, strict=False, check_trace=False)
        return [made.code, *(node.kind() for node in made.inlined_graph.nodes())]

    expected = trace()
    assert while_recording(model, args, tmp_path / "run", trace, mask=lambda x: torch.zeros(len(x)) > 0) == expected


class Holding(nn.Module):
    """Holds the model that is watched, so that a tracer calls that like any other module."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model(x)


masks = pytest.mark.parametrize(
    "mask",
    [
        None,
        lambda x: x[:, 0] > 0,
    ],
    ids=["unmasked", "masked"],
)


@masks
@pytest.mark.parametrize("specimen", specimens("bn_mlp", "relu_twice"), ids=lambda specimen: specimen.name)
def test_a_symbolic_trace_of_a_watched_model_is_that_of_the_model(
    specimen: Specimen, mask: Any, tmp_path: Path
) -> None:
    model, args = built(specimen)
    holding = Holding(model).eval()

    def trace() -> str:
        return str(torch.fx.symbolic_trace(holding).graph)

    expected = trace()
    assert while_recording(model, args, tmp_path / "run", trace, mask=mask) == expected


@masks
@pytest.mark.parametrize("mode", ["real", "symbolic"])
def test_a_graph_of_what_a_watched_model_computes_is_that_of_the_model(mode: str, mask: Any, tmp_path: Path) -> None:
    model, args = built(specimens("bn_mlp")[0])

    def trace() -> str:
        return make_fx(model, tracing_mode=mode, _allow_non_fake_inputs=True)(*args).code

    expected = trace()
    with Recorder(model, tmp_path / "run", sites="*", mask=mask):
        model(*args)
        assert trace() == expected


def test_a_graph_of_complex_numbers_is_that_of_the_model(tmp_path: Path) -> None:
    model, args = built(specimens("complex_intermediate")[0])
    expected = make_fx(model)(*args).code
    with Recorder(model, tmp_path / "run", sites="*"):
        assert make_fx(model)(*args).code == expected
        model(*args)


WITHOUT_ICSHIFT = """
import sys
sys.modules["icshift"] = None  # Importing it fails.
import torch
folder = sys.argv[1]
expected = torch.load(f"{folder}/expected.pt")
inputs = torch.ones(5, 4)
assert torch.equal(torch.load(f"{folder}/model.pt", weights_only=False)(inputs), expected)
torch.testing.assert_close(torch.export.load(f"{folder}/strict.pt2").module()(inputs), expected)
torch.testing.assert_close(torch.export.load(f"{folder}/non-strict.pt2").module()(inputs), expected)
assert not hasattr(torch.ops.icshift, "see")
"""


def test_what_was_saved_and_exported_while_recording_runs_where_there_is_no_icshift(tmp_path: Path) -> None:
    model, inputs = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.ones(5, 4)
    with Recorder(model, tmp_path / "run", sites="*"):
        torch.save(model(inputs).detach(), tmp_path / "expected.pt")
        torch.save(model, tmp_path / "model.pt")
        for strict, name in ((True, "strict"), (False, "non-strict")):
            torch.export.save(torch.export.export(model, (inputs,), strict=strict), tmp_path / f"{name}.pt2")
    command = [sys.executable, "-c", WITHOUT_ICSHIFT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr


WARNINGS_ARE_ERRORS = """
import sys
import torch
from torch import nn
from icshift.record.recorder import Recorder

class Widening(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x).repeat(1, self.calls)

model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), Widening(3, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
calls = []

def mask(x):
    calls.append(len(x))
    return x[:, 0] > 0 if len(calls) < 6 else 0

probe = torch.ones(6, 4)
with Recorder(model, sys.argv[1], optimizer=optimizer, window=1, probe=probe, mask=mask) as recorder:
    for step in range(4):
        model(-torch.ones(5, 4)).sum().backward()
        optimizer.step()
        probe.resize_(12, 2)
print("trained", model[2].calls)
"""


def test_where_warnings_are_errors_none_ends_the_training(tmp_path: Path) -> None:
    """A site, the probe and the mask fail, one after the other; each tells of it on stderr."""
    command = [sys.executable, "-W", "error", "-c", WARNINGS_ARE_ERRORS, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trained")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "icshift stopped recording 2",
        "icshift stopped replaying the probe",
        f"icshift stopped recording to {tmp_path / 'run'}",
    ]
