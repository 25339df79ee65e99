"""What plain forward hooks see, kept whole and summed up with NumPy: the oracle of every recording.

Nothing of icshift is used for what is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from icshift.record.recorder import Recorder
from icshift.runs.format import Site, kept_units
from icshift.runs.reader import StoredRun
from tests.zoo.models import Specimen

QUANTILES = {"q05": 0.05, "q15": 0.15, "q50": 0.5, "q85": 0.85, "q95": 0.95}

Values = NDArray[np.float64]


class Witness:
    """Keeps copies of what some modules give from now on; a step ends with `end`.

    Sites are named after the modules. A module called several times in one forward is several sites, as icshift names
    them: `calls` tells how many for some modules, one for all others. Where it is None every call since `begin` or
    `end` is a site of its own. `when` tells whether to look at all.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        calls: Mapping[str, int] | None = {},
        when: Callable[[], bool] = lambda: True,
    ) -> None:
        self.steps: list[dict[str, list[Tensor]]] = []
        """What each step gave, by site."""
        self._calls, self._when = calls, when
        self._seen: dict[str, list[Tensor]] = {}
        self._called: dict[str, int] = {}
        self._handles = [module.register_forward_hook(self._hook(name)) for name, module in modules.items()]

    @property
    def by_site(self) -> dict[str, list[list[Tensor]]]:
        """The same as {site: [steps][forwards] tensors}, of the steps in which it gave something."""
        sites = dict.fromkeys(site for step in self.steps for site in step)
        return {site: [step[site] for step in self.steps if site in step] for site in sites}

    def begin(self) -> None:
        """A forward of the whole model begins."""
        self._called = {}

    def end(self) -> None:
        """A step ends."""
        self.steps.append(self._seen)
        self._seen, self._called = {}, {}

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _hook(self, name: str) -> Callable[..., None]:
        def saw(_: nn.Module, __: Any, output: Any) -> None:
            if not self._when():
                return
            done = self._called.get(name, 0)
            self._called[name] = done + 1
            call = done if self._calls is None else done % self._calls.get(name, 1)
            site = name if call == 0 else f"{name}#{call + 1}"
            if isinstance(output, tuple) and not isinstance(output, PackedSequence):
                output = output[0]
            output = output.data if isinstance(output, PackedSequence) else output
            if isinstance(output, Tensor):
                for suffix, part in _parts(output):
                    self._seen.setdefault(site + suffix, []).append(part.clone().resolve_neg())

        return saw


def _parts(output: Tensor) -> list[tuple[str, Tensor]]:
    output = output.detach()
    return [(".real", output.real), (".imag", output.imag)] if output.is_complex() else [("", output)]


def trained(specimen: Specimen, path: Path, steps: int = 4, **options: Any) -> tuple[StoredRun, Witness]:
    """Train a specimen under a recorder and the witness. Each counts its own."""
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    rng = np.random.default_rng(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    witness = Witness({name or "(model)": module for name, module in model.named_modules()}, calls=None)
    with Recorder(model, path, optimizer=optimizer, **options):
        for _ in range(steps):
            args, kwargs = make_batch(rng)
            optimizer.zero_grad()
            witness.begin()
            specimen.loss(specimen.call(model, *args, **kwargs)).backward()
            optimizer.step()
            witness.end()
    return StoredRun(path), witness


def by_unit(tensors: list[Tensor], site: Site) -> Values:
    """The recorded units' activations [n, units], in double precision."""
    rows = [tensor.double().movedim(site.axis, -1).reshape(-1, site.units).numpy() for tensor in tensors]
    return np.concatenate(rows)[:, kept_units(site)]


def leaves(model: nn.Module, kind: Any = nn.Module) -> dict[str, nn.Module]:
    """The modules without parts, of a kind, by name."""
    return {
        name or "(model)": module
        for name, module in model.named_modules()
        if isinstance(module, kind) and not list(module.children())
    }


def values(tensors: list[Tensor]) -> Values:
    """Activations [n, units] of tensors whose units are last."""
    return torch.cat([tensor.double().reshape(-1, tensor.shape[-1]) for tensor in tensors]).numpy()


def assert_recorded(
    run: StoredRun, steps: Mapping[str, list[list[Tensor]]], phase: str = "train", tolerance: float = 1e-5
) -> None:
    """A run of one window, recorded with samples="all", tells of exactly these steps.

    `steps` are {site: [steps][forwards] tensors}.
    """
    assert [window.index for window in run.window_list] == [1]
    assert {site.name for site in run.sites} == set(steps)
    table = run.steps(phase)
    for site, kept in steps.items():
        rows = table[table["site"] == site]
        assert rows["step"].unique().tolist() == list(range(len(kept))), site
        for number, tensors in enumerate(kept):
            assert_moments(rows[rows["step"] == number], values(tensors), tolerance)
        every = values([tensor for tensors in kept for tensor in tensors])
        found = run.distribution(phase, site, 1)
        assert found.sampled.tolist() == [len(every)] * every.shape[1]
        assert_moments(found, every, tolerance)


def assert_moments(found: Any, every: Values, tolerance: float = 1e-5) -> None:
    """`found`, with an entry a unit, are moments of [n, units], of which those that are not finite are counted."""
    finite = np.isfinite(every)
    of = vars(found).get if hasattr(found, "sampled") else found.get
    assert np.asarray(of("count")).tolist() == finite.sum(0).tolist()
    assert np.asarray(of("nonfinite")).tolist() == (~finite).sum(0).tolist()
    scale = np.abs(every[finite]).max(initial=0.0)
    sd = "std" if hasattr(found, "sampled") else "sd"  # In a frame it has the word of all frames.
    for name, function in {"mean": np.nanmean, sd: np.nanstd, "min": np.nanmin, "max": np.nanmax}.items():
        expected = function(np.where(finite, every, np.nan), axis=0)
        np.testing.assert_allclose(of(name), expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def counts(run: StoredRun, phase: str = "train") -> dict[str, dict[int, int]]:
    """{site: activations of its first unit by step}."""
    table = run.steps(phase)
    table = table[table["unit"] == 0]
    return {site: dict(zip(rows["step"], rows["count"], strict=True)) for site, rows in table.groupby("site")}


def ledger(run: StoredRun) -> dict[str, tuple[str, str]]:
    """{module: (state, reason)}."""
    return {entry["module"]: (entry["state"], entry["reason"]) for entry in run.manifest["ledger"]}


def hooks_on(model: nn.Module) -> int:
    """How many hooks a model has, in all of its modules."""
    return sum(
        len(value) for module in model.modules() for key, value in vars(module).items() if key.endswith("_hooks")
    )


def assert_step(rows: pd.DataFrame, values: Values, tolerance: float = 1e-5) -> None:
    """The rows of one step, one a unit, tell of values [n, units] what NumPy does."""
    assert_moments(rows, values, tolerance)
    np.testing.assert_allclose(rows["zero_share"], (values == 0).mean(0), rtol=1e-6)
    scale = np.abs(values).max()
    for name, probability in QUANTILES.items():
        expected = np.quantile(values, probability, axis=0)
        np.testing.assert_allclose(rows[name], expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)
