"""Tensors that come as they came before: they are taken without all being found out again.

Nearly every tensor that a hook is given is of the shape, type and order in memory of the one in the step before, in a
forward of the same kind. What was found out about that one (its site, where its units are, who takes it) is kept. To
see that it still holds takes a tenth of finding it out, and no Python: it is done by the native kernel
(`kernel/taker.c`), where there is one, which changes what the long way would have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from icshift import kernel_choice
from icshift.hooks.attachment import Attachment
from icshift.hooks.calls import Calls, Now
from icshift.hooks.form import Form, has_form
from icshift.hooks.stopwatch import Stopwatch
from icshift.model.torch_private import is_ordinary, like, signs_of_the_ordinary
from icshift.model.unheard import only
from icshift.runs.interrupts import Guard
from icshift.sketch.accumulator import Accumulator
from icshift.sketch.sampler import Sampler


@dataclass(frozen=True, eq=False)
class Place:
    """Where the activations of a tensor of a site go, which lie in memory as `layout` says.

    That is `rows`, `units`, `positions` and how far rows lie apart. They go to `accumulators[key]`, that is to
    `accumulator`, unless the site has `failed` or something is `under_way`; places are drawn by `sampler`, and
    `observer`, if there is one, learns that a step has begun. `ticking` gets the accumulator.
    """

    accumulators: dict[Any, Accumulator]
    key: Any
    accumulator: Accumulator
    failed: dict[str, str]
    under_way: Any
    observer: Any
    ticking: dict[Accumulator, None]
    sampler: Sampler
    layout: tuple[int, int, int, int]


@dataclass(eq=False)
class _Module:
    taker: Any
    last: Form | None = None


@dataclass(eq=False)
class Known:
    """What is known of modules by name: how the tensor was that each returned last, and who took it.

    It is of the first call of a module in a forward, and of a module that returns one tensor.
    """

    calls: Calls
    guard: Guard
    stopwatch: Stopwatch
    _modules: dict[str, _Module] = field(default_factory=dict)

    def short_way(self, name: str, attachment: Attachment) -> Callable[[Any, Any], bool]:
        """Returns what a hook of the attachment on a module of this name asks first, with what that was given and
        returned: whether it took what was returned, as it does from when `note` knows how."""
        if not kernel_choice.uses_native():
            return lambda _, __: False
        guard, watch = self.guard, self.stopwatch
        signs = attachment, "attached", True, attachment, "_stale", False
        of = name, self.calls, signs, only, guard.acquire, guard.release, watch, watch.clock
        self._modules[name] = _Module(kernel_choice.compiled.Taker(*of, Tensor.data_ptr))
        take: Callable[[Any, Any], bool] = self._modules[name].taker.take
        return take

    def forget(self) -> None:
        """Forget all: what it depends on has changed."""
        for module in self._modules.values():
            module.taker.forget()
            module.last = None

    def note(self, name: str, tensor: Tensor, now: Now, found: Callable[[], Place | None]) -> None:
        """Note a tensor that a module returned, with `found` to say where the next one like it goes.

        That is asked where the one before was like it too: where lengths vary, it would be for nothing.
        """
        module = self._modules.get(name)
        if module is None or type(tensor) is not Tensor or now.made.get(name) != 1 or now.padding is not None:
            return
        if not is_ordinary():
            return
        if module.last is not None and module.last.fits(tensor):
            place = found()
            # Of float64, NumPy's kernel takes what follows, too.
            if place is not None and isinstance(place.accumulator.waiting, kernel_choice.compiled.Waiting):
                self._know(module, tensor, now.forward, place)
        elif has_form(tensor):
            module.last = Form(tensor)

    def _know(self, module: _Module, tensor: Tensor, forward: Any, place: Place) -> None:
        total, samples = place.layout[0] * place.layout[2], place.sampler.samples
        alike = like(tensor)
        module.taker.know(
            *(
                alike or _fits(Form(tensor)),
                signs_of_the_ordinary(alike=alike is not None),
                forward,
                place.accumulators,
                place.key,
                place.accumulator,
            ),
            *(place.accumulator.waiting, place.failed, place.under_way, place.observer, place.ticking),
            *(None if total <= samples else place.sampler, total, *place.layout, int(min(total, samples))),
        )


def _fits(form: Form) -> Callable[[Any], bool]:
    return lambda output: type(output) is Tensor and form.fits(output)
