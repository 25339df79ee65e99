"""A moment of a training that can be returned to: all that a forward depends on but parameters and inputs."""

from __future__ import annotations

import random
import sys
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

from icshift.model.undisturbed import kept, lists, lists_kept, undisturbed


class Moment:
    """Buffers, modules' attributes (all but their mode), random states and autocast as they are now.

    Of other models that are called, it is the moment of their first call that counts.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.others: list[nn.Module] = []
        """Other models that were called within `relived`."""
        self._states = [_State(model)]
        self._met: set[nn.Module] | None = None
        self._torch = torch.get_rng_state()
        self._devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        self._python, self._numpy = random.getstate(), np.random.get_state()
        devices = filter(is_autocast_available, {"cpu", *(parameter.device.type for parameter in model.parameters())})
        self._autocast = [(d, torch.get_autocast_dtype(d), torch.is_autocast_enabled(d)) for d in devices]

    @contextmanager
    def relived(self) -> Iterator[None]:
        """Puts the models there within, and back where they were afterwards."""
        with ExitStack() as back:
            back.enter_context(undisturbed(self._model))
            back.enter_context(lists_kept(self._model))
            for other in self.others:
                back.enter_context(kept(other))
                back.enter_context(lists_kept(other))
            for state in self._states:
                state.restore()
            torch.set_rng_state(self._torch)
            if self._devices:
                torch.cuda.set_rng_state_all(self._devices)
            random.setstate(self._python)
            np.random.set_state(self._numpy)
            if "torch._dynamo" in sys.modules:
                # A compiled model would be compiled anew for hooks and for parameters that are elsewhere.
                back.enter_context(torch.compiler.set_stance("force_eager"))
            for device, dtype, enabled in self._autocast:
                if enabled or torch.is_autocast_enabled(device):
                    # Its cache would give copies of parameters from before they moved, and the training those of ours.
                    back.enter_context(torch.autocast(device, dtype, enabled, cache_enabled=False))
            if self._met is None:
                back.enter_context(self._meeting(back))
            yield

    @contextmanager
    def _meeting(self, back: ExitStack) -> Iterator[None]:
        """Learns within which other models are called; `back` puts them where they were."""
        met = self._met = set(self._model.modules())
        thread = threading.get_ident()

        def meet(module: nn.Module, _: object) -> None:
            if module in met or threading.get_ident() != thread:
                return
            met.update(module.modules())
            self.others.append(module)
            self._states.append(_State(module))
            back.enter_context(kept(module))
            back.enter_context(lists_kept(module))

        hook = register_module_forward_pre_hook(meet)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks")
                yield
        finally:
            hook.remove()


class _State:
    """Buffers and attributes of a model as they are now."""

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [(b, b.detach().clone()) for b in model.buffers() if not is_lazy(b)]
        self._attributes = [(vars(m), {k: v for k, v in vars(m).items() if k != "training"}) for m in model.modules()]
        self._lists = lists(model)

    def restore(self) -> None:
        """Put them back."""
        for place, attributes in self._attributes:
            place.update(attributes)
        for one, items in self._lists:
            one[:] = items
        for buffer, value in self._buffers:
            if buffer.shape != value.shape:
                buffer.resize_(value.shape)
            buffer.data.copy_(value)  # `.data`: a graph that waits for its backward may hold the buffer.
