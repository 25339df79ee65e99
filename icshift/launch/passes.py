"""Passes over the training data, recognised by what PyTorch's DataLoaders do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from icshift.model.unheard import hears


@dataclass
class _Pass:
    """An iteration of a DataLoader: how many steps there were when it began, how many batches were drawn from it."""

    began: int
    drawn: int = 0


class Passes:
    """Calls `act` when a new pass over the training data begins after one with optimizer steps in it.

    The end of a pass alone does not count: some trainers ask for the batch after the last before they train on the
    last, some never ask for it, and an evaluation that follows belongs to its epoch. `steps` returns the number of
    optimizer steps so far, `training` whether any model is in training mode.
    """

    def __init__(self, act: Callable[[], None], steps: Callable[[], int], training: Callable[[], bool]) -> None:
        self.seen = False
        """Whether any DataLoader was iterated yet."""
        self._act = act
        self._steps = steps
        self._training = training
        self._passes: WeakKeyDictionary[Any, _Pass] = WeakKeyDictionary()
        self._latest: WeakKeyDictionary[DataLoader[Any], _Pass] = WeakKeyDictionary()
        self._ended = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A block within which every DataLoader of the process is followed."""
        iterate, following = DataLoader.__iter__, _BaseDataLoaderIter.__next__

        @wraps(iterate)
        def iterate_and_tell(loader: DataLoader[Any]) -> Any:
            if not hears(self):
                return iterate(loader)
            self._begins(loader)
            iterator = iterate(loader)
            self._passes[iterator] = self._latest[loader] = _Pass(self._steps())
            return iterator

        @wraps(following)
        def following_and_tell(iterator: Any) -> Any:
            # Workers that persist give one iterator again and again: this pass over it may be a measurement's.
            followed = self._passes.get(iterator) if hears(self) else None
            try:
                batch = following(iterator)
            except StopIteration:
                self._ended |= followed is not None and self._steps() > followed.began
                raise
            if followed is not None:
                followed.drawn += 1
            return batch

        with ExitStack() as stack:
            stack.callback(setattr, DataLoader, "__iter__", iterate)
            stack.callback(setattr, _BaseDataLoaderIter, "__next__", following)
            DataLoader.__iter__ = iterate_and_tell  # type: ignore[method-assign]
            _BaseDataLoaderIter.__next__ = following_and_tell  # type: ignore[method-assign,assignment]
            yield

    def _begins(self, loader: DataLoader[Any]) -> None:
        """Notes that an iteration begins, and calls `act` where it is a new pass."""
        self.seen = True
        before = self._latest.get(loader)
        # Left before its end; a single batch is no pass, but how some draw from a loader without end.
        left = before is not None and before.drawn > 1 and self._steps() > before.began
        evaluates = not torch.is_grad_enabled() or (before is None and not self._training())
        if (self._ended or left) and not evaluates:
            self._ended = False
            self._act()
