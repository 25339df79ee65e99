"""Trainings by `fit` of Keras on PyTorch: which epoch they are in, and whose data they draw.

Epochs are those of Keras, which may be shorter than a pass over the data (`steps_per_epoch`). Its loaders are made
anew for every pass, and so are their data sets: what is in them tells which data they are of.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from icshift.launch.script import when_imported
from icshift.launch.sources import StandIn
from icshift.record import keras_steps

_CALLBACKS = "keras.src.callbacks.callback_list"

_EVENTS = ("on_train_begin", "on_train_end", "on_epoch_begin", "on_test_begin", "on_test_end")


class KerasFits:
    """Calls `begins` when an epoch of a `fit` begins.

    What goes on is known by the list of callbacks that every `fit` and `evaluate` has: it is gone where one was left
    by an exception.
    """

    def __init__(self, begins: Callable[[], None]) -> None:
        self._begins = begins
        self._fit: Callable[[], Any] = _nothing
        self._test: Callable[[], Any] = _nothing

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A block within which `fit` is followed, from when Keras is imported on."""
        with ExitStack() as stack:
            # Keras may be what imports torch: then it is being imported when this block begins.
            stack.callback(when_imported(keras_steps.MODULE, keras_steps.hear))
            stack.callback(when_imported(_CALLBACKS, lambda: self._listen(stack)))
            yield

    @property
    def fitting(self) -> bool:
        """Whether a `fit` goes on."""
        return self._fit() is not None

    def stand_in(self, loader: Any) -> Any:
        """What stands for a loader that Keras made, so that its data are known again; else the loader itself."""
        data = getattr(loader, "dataset", None)
        if not type(data).__module__.startswith("keras."):
            return loader
        held = vars(data)
        return StandIn(_first(held.get("array", held.get("iterable"))), self._role())

    def _role(self) -> str:
        fit, test = self._fit(), self._test()
        if test is not None:
            return "validation" if test is fit else ""
        return "" if fit is None else "fit"

    def _listen(self, stack: ExitStack) -> None:
        lists = getattr(sys.modules[_CALLBACKS], "CallbackList", None)
        for event in _EVENTS:
            plain = vars(lists).get(event) if lists is not None else None
            if plain is not None:
                setattr(lists, event, self._telling(event, plain))
                stack.callback(setattr, lists, event, plain)

    def _telling(self, event: str, plain: Callable[..., Any]) -> Callable[..., Any]:
        note = getattr(self, f"_{event}")

        @wraps(plain)
        def tell(callbacks: Any, *arguments: Any, **options: Any) -> Any:
            note(weakref.ref(callbacks))
            return plain(callbacks, *arguments, **options)

        return tell

    def _on_train_begin(self, callbacks: Callable[[], Any]) -> None:
        self._fit = callbacks

    def _on_train_end(self, _: Callable[[], Any]) -> None:
        self._fit = _nothing

    def _on_epoch_begin(self, _: Callable[[], Any]) -> None:
        self._begins()

    def _on_test_begin(self, callbacks: Callable[[], Any]) -> None:
        self._test = callbacks

    def _on_test_end(self, _: Callable[[], Any]) -> None:
        self._test = _nothing


def _nothing() -> None:
    """A reference to what is not there."""


def _first(held: Any) -> Any:
    """The array that comes first in what a data set of Keras holds, as it was given to Keras where it can be."""
    while isinstance(held, (list, tuple, Mapping)) and held:
        held = next(iter(held.values() if isinstance(held, Mapping) else held))
    return getattr(held, "array", held)
