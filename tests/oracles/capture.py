"""What a plain forward hook sees, kept whole and summed up with NumPy: the oracle of every recording."""

from __future__ import annotations

from collections.abc import Callable
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
from icshift.runs.reader import Run
from tests.zoo.models import Specimen

QUANTILES = {"q05": 0.05, "q15": 0.15, "q50": 0.5, "q85": 0.85, "q95": 0.95}

Values = NDArray[np.float64]


class Oracle:
    """Copies of the outputs of some modules, a list of steps of {site: list of tensors}."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.steps: list[dict[str, list[Tensor]]] = []
        self._seen: dict[str, list[Tensor]] = {}
        self._calls: dict[str, int] = {}
        for name, module in modules.items():
            module.register_forward_hook(self._hook(name, module))

    def begin(self) -> None:
        """A forward of the whole model begins."""
        self._calls = {}

    def end(self) -> None:
        """A step ends."""
        self.steps.append(self._seen)
        self._seen, self._calls = {}, {}

    def _hook(self, name: str, module: nn.Module) -> Callable[..., None]:
        def saw(_: nn.Module, __: Any, output: Any) -> None:
            self._calls[name] = self._calls.get(name, 0) + 1
            call = f"#{self._calls[name]}" if self._calls[name] > 1 else ""
            if isinstance(module, (nn.RNNBase, nn.LSTMCell, nn.MultiheadAttention)):
                output = output[0]
            output = output.data if isinstance(output, PackedSequence) else output
            if isinstance(output, Tensor) and output.is_complex():
                for part in ("real", "imag"):
                    copy = getattr(output.detach(), part).clone().resolve_neg()
                    self._seen.setdefault(f"{name}{call}.{part}", []).append(copy)
            elif isinstance(output, Tensor):
                self._seen.setdefault(name + call, []).append(output.detach().clone().resolve_neg())

        return saw


def trained(specimen: Specimen, path: Path, steps: int = 4, **options: Any) -> tuple[Run, Oracle]:
    """Train a specimen under a recorder and the oracle. Each counts its own."""
    torch.manual_seed(7)
    model, make_batch = specimen.build()
    rng = np.random.default_rng(7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    oracle = Oracle({name or "(model)": module for name, module in model.named_modules()})
    with Recorder(model, path, optimizer=optimizer, **options):
        for _ in range(steps):
            args, kwargs = make_batch(rng)
            optimizer.zero_grad()
            oracle.begin()
            specimen.loss(specimen.call(model, *args, **kwargs)).backward()
            optimizer.step()
            oracle.end()
    return Run(path), oracle


def by_unit(tensors: list[Tensor], site: Site) -> Values:
    """The recorded units' activations [n, units], in double precision."""
    rows = [tensor.double().movedim(site.axis, -1).reshape(-1, site.units).numpy() for tensor in tensors]
    return np.concatenate(rows)[:, kept_units(site)]


def assert_moments(found: Any, values: Values, tolerance: float = 1e-5) -> None:
    """Count, mean, std, min and max of `found`, arrays or columns over units, are those of values [n, units]."""
    scale = np.abs(values).max(initial=0.0)
    assert (
        np.asarray(found.count if hasattr(found, "sampled") else found["count"]).tolist()
        == [len(values)] * values.shape[1]
    )
    assert (np.asarray(found.nonfinite) == 0).all()
    for name in ("mean", "std", "min", "max"):
        expected = getattr(np, name)(values, axis=0)
        recorded = getattr(found, name) if hasattr(found, "sampled") else found[name]
        np.testing.assert_allclose(recorded, expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def assert_step(rows: pd.DataFrame, values: Values, tolerance: float = 1e-5) -> None:
    """The rows of one step, one a unit, tell of values [n, units] what NumPy does."""
    assert_moments(rows, values, tolerance)
    np.testing.assert_allclose(rows["zero_share"], (values == 0).mean(0), rtol=1e-6)
    scale = np.abs(values).max()
    for name, probability in QUANTILES.items():
        expected = np.quantile(values, probability, axis=0)
        np.testing.assert_allclose(rows[name], expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)
