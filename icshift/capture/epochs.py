"""Passes over the training data, told from what PyTorch's DataLoaders do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter


class Passes:
    """Calls `act` when a new pass over training data begins, after one has ended.

    A pass is one of training if steps were made while it went on. Its end alone does not count: some trainers ask for
    the batch after the last before they train on the last, and an evaluation that follows belongs to its epoch.
    `steps` and `training` tell how many steps there were and whether any model is in training mode.
    """

    def __init__(self, act: Callable[[], None], steps: Callable[[], int], training: Callable[[], bool]) -> None:
        self.seen = False
        """Whether any DataLoader was iterated."""
        self._act = act
        self._steps = steps
        self._training = training
        self._begun: WeakKeyDictionary[Any, tuple[int, DataLoader[Any]]] = WeakKeyDictionary()
        self._loaders: WeakSet[DataLoader[Any]] = WeakSet()
        self._ended = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Within, every DataLoader of the process is listened to."""
        iterate, following = DataLoader.__iter__, _BaseDataLoaderIter.__next__

        @wraps(iterate)
        def iterate_and_tell(loader: DataLoader[Any]) -> Any:
            self._begins(loader)
            iterator = iterate(loader)
            self._begun[iterator] = self._steps(), loader
            return iterator

        @wraps(following)
        def following_and_tell(iterator: Any) -> Any:
            try:
                return following(iterator)
            except StopIteration:
                self._ends(iterator)
                raise

        with ExitStack() as stack:
            stack.callback(setattr, DataLoader, "__iter__", iterate)
            stack.callback(setattr, _BaseDataLoaderIter, "__next__", following)
            DataLoader.__iter__ = iterate_and_tell  # type: ignore[method-assign]
            _BaseDataLoaderIter.__next__ = following_and_tell  # type: ignore[method-assign,assignment]
            yield

    def _begins(self, loader: DataLoader[Any]) -> None:
        self.seen = True
        # A training may make a new DataLoader every epoch; those of evaluations are told by how they are iterated.
        if self._ended and (loader in self._loaders or (torch.is_grad_enabled() and self._training())):
            self._ended = False
            self._act()

    def _ends(self, iterator: Any) -> None:
        begun, loader = self._begun.get(iterator, (None, None))
        if begun is not None and loader is not None and self._steps() > begun:
            self._loaders.add(loader)
            self._ended = True
