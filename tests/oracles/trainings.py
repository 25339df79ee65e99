"""Plain hooks that keep everything, and what a run must say of what they kept."""

import numpy as np
import torch
from torch import nn


class Witness:
    """Keeps what some modules give from now on, as {site: [steps][forwards] tensors}; a step ends with `end`.

    Sites are named after the modules; `calls` tells how often a module is called in one forward, `when` whether to
    look at all.
    """

    def __init__(self, modules, calls=None, when=lambda: True):
        self.steps = {}
        self._calls = calls or {}
        self._when = when
        self._open = {}
        self._handles = [module.register_forward_hook(self._hook(name)) for name, module in modules.items()]

    def end(self):
        for name, tensors in self._open.items():
            calls = self._calls.get(name, 1)
            for number in range(calls):
                site = name if number == 0 else f"{name}#{number + 1}"
                self.steps.setdefault(site, []).append(tensors[number::calls])
        self._open = {}

    def remove(self):
        for handle in self._handles:
            handle.remove()

    def _hook(self, name):
        def saw(_, __, output):
            if self._when():
                tensor = output[0] if isinstance(output, tuple) else output
                self._open.setdefault(name, []).append(tensor.detach().clone())

        return saw


def leaves(model, kind=nn.Module):
    """The modules without parts, of a kind, by name."""
    return {
        name or "(model)": module
        for name, module in model.named_modules()
        if isinstance(module, kind) and not list(module.children())
    }


def values(tensors):
    """Activations [n, units] of tensors whose units are last."""
    return torch.cat([tensor.double().reshape(-1, tensor.shape[-1]) for tensor in tensors]).numpy()


def assert_recorded(run, steps, phase="train", tolerance=1e-5):
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


def assert_moments(found, every, tolerance=1e-5):
    """`found`, with an entry a unit, are moments of [n, units], of which those that are not finite are counted."""
    finite = np.isfinite(every)
    of = vars(found).get if hasattr(found, "sampled") else found.get
    assert np.asarray(of("count")).tolist() == finite.sum(0).tolist()
    assert np.asarray(of("nonfinite")).tolist() == (~finite).sum(0).tolist()
    scale = np.abs(every[finite]).max(initial=0.0)
    for name, function in {"mean": np.nanmean, "std": np.nanstd, "min": np.nanmin, "max": np.nanmax}.items():
        expected = function(np.where(finite, every, np.nan), axis=0)
        np.testing.assert_allclose(of(name), expected, rtol=tolerance, atol=tolerance * scale, err_msg=name)


def counts(run, phase="train"):
    """{site: activations of its first unit by step}."""
    table = run.steps(phase)
    table = table[table["unit"] == 0]
    return {site: dict(zip(rows["step"], rows["count"], strict=True)) for site, rows in table.groupby("site")}


def ledger(run):
    """{module: (state, reason)}."""
    return {entry["module"]: (entry["state"], entry["reason"]) for entry in run.manifest["ledger"]}


def hooks_on(model):
    """How many hooks a model has, in all of its modules."""
    return sum(
        len(value) for module in model.modules() for key, value in vars(module).items() if key.endswith("_hooks")
    )
