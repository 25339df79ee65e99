"""Short trainings of every specimen, with a recorder and without, and all that they leave behind, bit for bit."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import optimizer as optimizer_hooks

from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from tests.zoo.models import CALLED_OTHERWISE, ZOO, Specimen, as_a_whole

STEPS = 5

each = pytest.mark.parametrize("specimen", [*ZOO, *CALLED_OTHERWISE], ids=lambda specimen: specimen.name)

REPRESENTATIVE = (
    "bn_mlp",
    "channels_last",
    "shared_linear",
    "inplace_on_its_input",
    "packed_sequence",
    "dict_output",
    "lazy_linear",
    "autocast",
    "checkpoint_reentrant",
    "dropout",
    "frozen",
    "empty_batch",
    "weight_tying",
    "jagged",
    "transformer",
    "lora_as_parametrization",
    "data_parallel",
    "recursive",
    "hooks_of_its_own",
    "layer_appended",
    "functional",
    "raises_now_and_then",
)
"""Of each way in which models are out of the ordinary one; of all of them there is one test at least."""

some = pytest.mark.parametrize(
    "specimen",
    [
        pytest.param(specimen, marks=[] if specimen.name in REPRESENTATIVE else [pytest.mark.thorough])
        for specimen in [*ZOO, *CALLED_OTHERWISE]
    ],
    ids=lambda specimen: specimen.name,
)

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


@cache
def unrecorded(specimen: Specimen, stop: type[BaseException] | None = None) -> tuple[dict[str, Any], set[str]]:
    """What a training without a recorder leaves behind, and what it warns of."""
    trained, warned = train_and_listen(specimen, unwatched, stop)
    return trained.numbers, warned


def train_and_listen(
    specimen: Specimen, watch: Watch, stop: type[BaseException] | None = None
) -> tuple[Trained, set[str]]:
    """`train`, with what was warned of."""
    with warnings.catch_warnings(record=True, action="always") as caught:
        return train(specimen, watch, stop("stop") if stop else None), {str(warning.message) for warning in caught}
