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

TRIALS = 6


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


@pytest.mark.parametrize("stream", STREAMS)
def test_few_frozen_networks_show_any_site(stream):
    found = sum(wrong(stream, kind, setting) for kind in NETWORKS for setting in SETTINGS)
    assert found <= at_most(0.05, TRIALS * len(NETWORKS) * len(SETTINGS))
