"""One trial of a calibration: windows of a network, recorded or by hooks alone, and what is said of them."""

from dataclasses import dataclass
from functools import partial
from zlib import crc32

import numpy as np
import torch
from torch import nn

import icshift
from icshift.model.sites import owns_weights
from icshift.noise.movement import FALSE_ALARMS, Movement, movement
from tests.blocks import blocks_of as blocks_of_steps
from tests.calibration.streams import as_tensor


def blocks_of(model, steps):
    """The blocks of every site of a window, by name, of every activation, as the recorder keeps them.

    The window is sent through the model at once where no step has statistics of its own. Sites are those of the first
    tensor that a module with weights returns.
    """
    seen, hooks = {}, []
    for name, module in model.named_modules():
        if owns_weights(module) or isinstance(module, nn.MultiheadAttention):
            hooks.append(module.register_forward_hook(partial(_keep, seen.setdefault(name, []))))
    alone = any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    with torch.no_grad():
        for examples in steps if alone else [np.concatenate(steps)]:
            model(as_tensor(examples))
    for hook in hooks:
        hook.remove()
    return {name: as_blocks(torch.cat(parts).numpy(), len(steps)) for name, parts in seen.items() if parts}


def _keep(parts, _, __, output):
    tensor = output[0] if isinstance(output, tuple) else output
    parts.append(tensor.detach().movedim(1, -1) if tensor.ndim == 4 else tensor.detach())


def as_blocks(activations, steps):
    """The blocks of activations [examples of so many steps, ..., units]."""
    return blocks_of_steps(activations.reshape(steps, -1, activations.shape[-1]).transpose(2, 0, 1))


def judged(model, windows, level=FALSE_ALARMS) -> Movement:
    """What moved from the first of these windows to the last."""
    before, after = blocks_of(model, windows[0]), blocks_of(model, windows[-1])
    return movement({name: (before[name], after[name]) for name in before}, level)


def record(path, model, windows, *, change=None, **options):
    """A run of the real recorder; `change` is called with the model and the window's number before each window."""
    with icshift.Recorder(model, path, **options) as recorder, torch.no_grad():
        for number, window in enumerate(windows, 1):
            if change:
                change(model, number)
            with recorder.phase("train"):
                for step in window:
                    model(as_tensor(step))
                    recorder.step()
            recorder.epoch()
    return icshift.open(path)


def random_of(name, trial):
    """A generator that depends on the name of a case and the number of a trial alone."""
    return np.random.default_rng([crc32(name.encode()), trial])


def at_most(rate, trials, sds=2.33):
    """The largest number of events of this probability that happens in 99 of 100 times so many trials."""
    return rate * trials + sds * np.sqrt(rate * (1 - rate) * trials)


@dataclass
class Tally:
    """What was said in so many trials: how often any site was called, and how often nothing could be told."""

    trials: int = 0
    called: int = 0
    unknown: int = 0

    def add(self, result: Movement) -> None:
        """Count one trial."""
        self.trials += 1
        self.called += bool(result.called)
        self.unknown += not result.p
