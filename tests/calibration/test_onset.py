"""Of runs in which nothing changes few are told that a site left the band of its past; what does leave is found."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from torch import nn

from icshift.analysis.onset import Steps, first_left
from icshift.model.sites import owns_weights
from tests.calibration import streams
from tests.calibration.networks import NETWORKS, network
from tests.calibration.streams import as_tensor
from tests.calibration.trials import at_most, random_of

STREAMS = {
    "fresh": streams.fresh,
    "two sources in turns": streams.in_turns,
    "topics": streams.topics,
    "AR(1) 0.9": streams.autoregressive,
}

SETTINGS = ((60, 16), (200, 4))
"""Steps, and examples a step."""

TRIALS = 4


def sites_of(model, steps, *, change=None):
    """The steps of every site, by name; `change` is called with the model and the number of each step before it."""
    seen, hooks = {}, []
    for name, module in model.named_modules():
        if owns_weights(module) and not isinstance(module, nn.GRU):
            hooks.append(module.register_forward_hook(partial(_keep, seen.setdefault(name, []))))
    alone = change or any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    with torch.no_grad():
        for number, examples in enumerate(steps if alone else [np.concatenate(steps)]):
            if change:
                change(model, number)
            model(as_tensor(examples))
    for hook in hooks:
        hook.remove()
    return {name: _steps(torch.cat(parts).numpy(), len(steps)) for name, parts in seen.items() if parts}


def _keep(parts, _, __, output):
    tensor = output[0] if isinstance(output, tuple) else output
    parts.append(tensor.movedim(1, -1) if tensor.ndim == 4 else tensor)


def _steps(activations, count):
    """The steps of activations [examples of so many steps, ..., units]."""
    values = activations.reshape(count, -1, activations.shape[-1])
    lost = (~np.isfinite(values)).sum((1, 2))
    with np.errstate(invalid="ignore", over="ignore"):
        return Steps(np.arange(count), values.std(1), np.median(values, 1), lost, values.shape[1])


def left(model, steps, **options):
    sites = sites_of(model, steps, **options)
    return {name: found for name, one in sites.items() if (found := first_left(one, len(sites)))}


@cache
def wrong(stream, kind, setting):
    """Of so many runs of a frozen network, how many show any site."""
    lengths, examples = setting
    name = f"onset {stream} {kind} {setting}"
    given = (STREAMS[stream](random_of(name, trial), (lengths,), (examples,))[0] for trial in range(TRIALS))
    return sum(bool(left(network(kind, trial), steps)) for trial, steps in enumerate(given))


@pytest.mark.some(2)
@pytest.mark.parametrize("stream", STREAMS)
def test_few_frozen_networks_show_any_site(stream):
    found = sum(wrong(stream, kind, setting) for kind in NETWORKS for setting in SETTINGS)
    assert found <= at_most(0.05, TRIALS * len(NETWORKS) * len(SETTINGS))


STANDING = ("independent", "AR(1) 0.9", "skewed", "heavy tails")


def standing(kind, random, shape):
    """Series [sites, steps] that stand still."""
    noise = random.normal(size=shape)
    if kind == "skewed":
        return np.exp(0.5 * noise)
    if kind == "heavy tails":
        return random.standard_t(5, size=shape)
    if kind == "AR(1) 0.9":
        for step in range(1, shape[1]):
            noise[:, step] = 0.9 * noise[:, step - 1] + np.sqrt(1 - 0.9**2) * noise[:, step]
    return noise


@pytest.mark.some(3)
@pytest.mark.parametrize("sites", [1, 20])
@pytest.mark.parametrize("kind", STANDING)
def test_few_runs_of_independent_series_show_any(kind, sites):
    """Sites that have nothing in common are the worst case: each is a new chance to be wrong."""
    trials, wrong = 60, 0
    random = random_of(f"standing {kind}", sites)
    for _ in range(trials):
        series = standing(kind, random, (sites, 300))
        wrong += any(left_at(one, sites) is not None for one in series)
    assert wrong <= at_most(0.05, trials)


def left_at(series, sites):
    """The step at which the sd of a site of one unit, whose logarithm a series is, leaves the band of its past."""
    still = np.zeros((len(series), 1))
    found = first_left(Steps(np.arange(len(series)), np.exp(series)[:, None], still, still[:, 0], 64), sites)
    return found and found.step


def grow(model, number, start=40, by=1.08):
    if number >= start:
        with torch.no_grad():
            model[2].weight *= by


def spike(model, number, at=50):
    with torch.no_grad():
        if number == at:
            model[2].weight *= 8
        elif number == at + 1:
            model[2].weight /= 8


def shift_some(model, number, start=45):
    """Half of the units go up and half go down by two standard deviations: their median over units stays."""
    if number == start:
        with torch.no_grad():
            signs = torch.tensor([2.0, -2.0]).repeat(8)
            model[2].bias += signs * model[2].weight.norm(dim=1)


@pytest.mark.some(3)
@pytest.mark.parametrize("stream", ["fresh", "AR(1) 0.9"])
@pytest.mark.parametrize(
    ("change", "what", "latest"), [(grow, ("sd", "median"), 60), (spike, ("sd",), 50), (shift_some, ("median",), 50)]
)
def test_the_layer_that_changes_is_found_with_its_step(stream, change, what, latest):
    """Layer 2 of the network changes, and all after it; what comes before it does not."""
    found = 0
    for trial in range(5):
        steps = STREAMS[stream](random_of(f"changes {stream}", trial), (90,), (16,))[0]
        said = left(network("MLP", trial), steps, change=change)
        first = min(said, key=lambda name: said[name].step, default=None)
        start = {grow: 40, spike: 50, shift_some: 45}[change]
        found += first == "2" and said[first].what in what and start <= said[first].step <= latest
        assert "0" not in said
    assert found >= 4


def test_a_spike_comes_back_and_growth_does_not():
    steps = streams.fresh(random_of("back", 0), (90,), (16,))[0]
    assert left(network("MLP", 0), steps, change=spike)["2"].outside < 0.1
    assert left(network("MLP", 0), steps, change=grow)["2"].outside > 0.9
