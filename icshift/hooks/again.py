"""Tensors that come as they came before: they are taken without all being found out again.

Nearly every tensor that a hook is given is of the shape, type and order in memory of the one in the step before, in a
forward of the same kind. What was found out about that one (its site, where its units are, who takes it) is kept. To
see that it still holds takes a tenth of finding it out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from icshift.hooks.calls import Now
from icshift.hooks.form import Form, has_form
from icshift.model.torch_private import is_ordinary

Take = Callable[[int], bool]
"""Takes activations that lie in memory from an address on; returns whether it did, so that nobody else need."""


class Known:
    """What is known of modules by name: how the tensor was that each returned last, and who took it.

    It is of the first call of a module in a forward, and of a module that returns one tensor.
    """

    def __init__(self) -> None:
        self._by_name: dict[str, tuple[Form, Any, Take]] = {}
        self._last: dict[str, Form] = {}

    def forget(self) -> None:
        """Forget all: what it depends on has changed."""
        self._by_name.clear()
        self._last.clear()

    def note(self, name: str, tensor: Tensor, now: Now, found: Callable[[], Take | None]) -> None:
        """Note a tensor that a module returned, with `found` to say who takes the next one like it.

        That is asked where the one before was like it too: where lengths vary, it would be for nothing.
        """
        last = self._last.get(name)
        if type(tensor) is not Tensor or not is_ordinary() or now.made.get(name) != 1 or now.padding is not None:
            return
        if last is not None and last.fits(tensor):
            take = found()
            if take is not None:
                self._by_name[name] = last, now.forward, take
        elif has_form(tensor):
            self._last[name] = Form(tensor)

    def take(self, name: str, tensor: Tensor, now: Now) -> bool:
        """Takes a tensor of PyTorch's own class, if it comes as the one before; returns whether it did."""
        known = self._by_name.get(name)
        if known is None or now.padding is not None or name in now.made or not now.open or not is_ordinary():
            return False
        form, forward, take = known
        if now.forward is not forward or not form.fits(tensor) or not take(tensor.data_ptr()):
            return False
        now.made[name] = 1
        return True
