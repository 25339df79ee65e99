"""`FrozenState`: all that a forward depends on but parameters and inputs, kept so that a loss can be computed again.

Buffers, attributes of modules, random states and autocast are copied once and put back before every evaluation: a
closure then computes the same loss at every call, and the training finds everything as it was.
"""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from torch import nn
from torch.amp import is_autocast_available
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.nn.parameter import is_lazy

from icshift.model.torch_private import compiler_loaded
from icshift.model.undisturbed import kept, lists, lists_kept, undisturbed


class FrozenState:
    """Snapshot of a model's buffers and attributes, of random states and autocast, taken when it is made.

    Random states are those of torch (CPU and, if in use, CUDA), NumPy and Python. Training and eval mode are not in it:
    they are the caller's. Other models that a closure calls (a GAN's discriminator) are found out while the first
    `restored` block runs, and kept as they were when they were first called in it.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.others: list[nn.Module] = []
        """Models other than `model` that were called within the first `restored` block, in order of their calls."""
        self._model_states = [_ModelState(model)]
        self._others_are_known = False
        self._torch = torch.get_rng_state()
        self._devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._python, self._numpy = random.getstate(), np.random.get_state()
        devices = filter(is_autocast_available, {"cpu", *(parameter.device.type for parameter in model.parameters())})
        self._autocast = [(d, torch.get_autocast_dtype(d), torch.is_autocast_enabled(d)) for d in devices]

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Puts the snapshot back for the block; afterwards all is again as it was before the block.

        What is compiled runs eagerly within.
        """
        with ExitStack() as back:
            back.enter_context(undisturbed(self._model))
            back.enter_context(lists_kept(self._model))
            for other in self.others:
                back.enter_context(kept(other))
                back.enter_context(lists_kept(other))
            for state in self._model_states:
                state.restore()
            torch.set_rng_state(self._torch)
            if self._devices:
                torch.cuda.set_rng_state_all(self._devices)
            random.setstate(self._python)
            np.random.set_state(self._numpy)
            if compiler_loaded():
                # A compiled model would be compiled anew for hooks and for parameters that are elsewhere.
                back.enter_context(torch.compiler.set_stance("force_eager"))
            for device, dtype, enabled in self._autocast:
                if enabled or torch.is_autocast_enabled(device):
                    # Its cache would give copies of other values of the parameters, and the training those of ours.
                    back.enter_context(torch.autocast(device, dtype, enabled, cache_enabled=False))
            if not self._others_are_known:
                self._others_are_known = True
                back.enter_context(self._finding_others(back))
            yield

    @contextmanager
    def _finding_others(self, back: ExitStack) -> Iterator[None]:
        """Takes a snapshot of every other model at its first call within; leaving `back` puts these models back."""
        known = set(self._model.modules())
        thread = threading.get_ident()

        def take_snapshot(module: nn.Module, _: object) -> None:
            if module in known or threading.get_ident() != thread:
                return
            known.update(module.modules())
            self.others.append(module)
            self._model_states.append(_ModelState(module))
            back.enter_context(kept(module))
            back.enter_context(lists_kept(module))

        hook = register_module_forward_pre_hook(take_snapshot)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
                yield
        finally:
            hook.remove()


class _ModelState:
    """Buffers and attributes of one model as they are when it is made; modes are not in it."""

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [(b, b.detach().clone()) for b in model.buffers() if not is_lazy(b)]
        self._attributes = [(vars(m), {k: v for k, v in vars(m).items() if k != "training"}) for m in model.modules()]
        self._lists = lists(model)

    def restore(self) -> None:
        """Put them back into the model."""
        for namespace, attributes in self._attributes:
            namespace.update(attributes)
        for changed, items in self._lists:
            changed[:] = items
        for buffer, value in self._buffers:
            if buffer.shape != value.shape:
                buffer.resize_(value.shape)
            buffer.data.copy_(value)  # `.data`: a graph that waits for its backward may hold the buffer.
