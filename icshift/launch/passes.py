"""Passes over data, recognised by what the iterators of PyTorch's DataLoaders do, whoever made them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from torch import Tensor

from icshift.launch.sources import Source, Sources
from icshift.model.torch_private import loader_iterator
from icshift.model.unheard import hears
from icshift.notice import notice

_UNTIMED: AbstractContextManager[None] = nullcontext()


@dataclass
class _Pass:
    """An iteration of a DataLoader over a source.

    `began` and `reached` are how many steps there were when it began and when a batch was last drawn from it, `drawn`
    is the number of batches, `trained` whether a step came between two of them, `rows` the length of the latest one.
    `evaluates` says that no model was in training mode when it began.
    """

    source: Source
    began: int
    reached: int
    evaluates: bool
    drawn: int = 0
    rows: int | None = None
    trained: bool = False
    ended: bool = False


class Passes:
    """Calls `act` when a new pass begins after one over the training data, of which there may be several in a row.

    A pass is one over training data where steps come between its batches; evaluations have none, whatever grad mode
    and mode of the model they are in. The end of a pass alone does not count: some trainers ask for the batch after the
    last before they train on the last, some never ask for it. Nor does a pass of a single batch, which is how some draw
    from a loader without end.

    A pass that was left before its end is over when the next one over the same data begins, unless that may be an
    evaluation within it. Where it turns out later to have been one, as the pass goes on without a step in between,
    `take_back` is called. `steps` returns the number of optimizer steps so far, `training` whether any model is in
    training mode, `stand_in` what stands for a loader whose data are not known again by their identity. All that is
    done here is within blocks of `watch`.
    """

    def __init__(
        self,
        act: Callable[[], None],
        take_back: Callable[[], None],
        *,
        steps: Callable[[], int],
        training: Callable[[], bool],
        stand_in: Callable[[Any], Any] = lambda loader: loader,
        watch: AbstractContextManager[Any] = _UNTIMED,
    ) -> None:
        self._act = act
        self._take_back = take_back
        self._watch = watch
        self._steps = steps
        self._training = training
        self._stand_in = stand_in
        self._sources = Sources()
        self._passes: WeakKeyDictionary[Any, _Pass] = WeakKeyDictionary()
        self._trained: WeakKeyDictionary[Source, _Pass] = WeakKeyDictionary()
        """By source, the latest pass with steps between its batches that has no end yet."""
        self._trained_on: WeakSet[Source] = WeakSet()
        self._drawing: Callable[[], Any] = lambda: None
        self._ended = False
        self._left: tuple[_Pass, int] | None = None
        """The pass that was taken to be over although it has no end, and how many steps there were then."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """A block within which every DataLoader of the process is followed.

        It is their iterators that are followed: some trainers make them without asking the loader.
        """
        iterators = loader_iterator()
        make, following = iterators.__init__, iterators.__next__
        again = getattr(iterators, "_reset", _nothing)

        @wraps(make)
        def make_and_tell(iterator: Any, loader: Any, *arguments: Any, **options: Any) -> None:
            make(iterator, loader, *arguments, **options)
            self._safely(self._begins, iterator, loader)

        @wraps(again)
        def again_and_tell(iterator: Any, loader: Any, first_iter: bool = False, **options: Any) -> None:
            # Workers that persist give one iterator again and again.
            again(iterator, loader, first_iter, **options)
            if not first_iter:
                self._safely(self._begins, iterator, loader)

        @wraps(following)
        def following_and_tell(iterator: Any) -> Any:
            try:
                batch = following(iterator)
            except StopIteration:
                self._safely(self._ends, iterator)
                raise
            self._safely(self._draws, iterator, batch)
            return batch

        with ExitStack() as stack:
            for name, plain, telling in (
                ("__init__", make, make_and_tell),
                ("_reset", again, again_and_tell),
                ("__next__", following, following_and_tell),
            ):
                stack.callback(setattr, iterators, name, plain)
                setattr(iterators, name, telling)
            yield

    def trains_on(self, source: Source) -> bool:
        """Whether a pass over this source had steps in it."""
        return source in self._trained_on

    def evaluated_source(self, inputs: Any) -> Source | None:
        """Returns what is being evaluated on, the source of the latest batch, where a forward begins with `inputs`.

        None where a step came since: what is evaluated then comes from somewhere else. So it does where a model is
        trained in that pass (and another one, as its teacher, may be evaluated), or was in training mode when it began,
        and the inputs have not as many rows as the batch.
        """
        iterator = self._drawing()
        followed = None if iterator is None else self._passes.get(iterator)
        if followed is None or self._steps() > followed.reached:
            return None
        evaluates = followed.evaluates and followed.reached == followed.began
        if not evaluates and (followed.rows is None or _rows(inputs) != followed.rows):
            return None
        # The last batch may be used after the end was asked for; but workers that persist keep their iterator for good.
        return None if followed.ended and _persists(iterator) else followed.source

    def _safely(self, note: Callable[..., None], *arguments: Any) -> None:
        if not hears(self):
            return
        try:
            with self._watch:
                note(*arguments)
        except Exception as error:  # noqa: BLE001  The training must not notice.
            notice(f"icshift lost sight of passes over the data: {error}")

    def _begins(self, iterator: Any, loader: Any) -> None:
        """Notes that a pass begins, and calls `act` where one over the training data is over."""
        source, steps, evaluates = self._sources.of(self._stand_in(loader)), self._steps(), not self._training()
        left = self._left_before(iterator, source, evaluates=evaluates)
        self._passes[iterator] = _Pass(source, steps, steps, evaluates)
        if self._ended or left is not None:
            self._left = None if self._ended or left is None else (left, steps)
            self._ended = False
            self._act()

    def _left_before(self, iterator: Any, source: Source, *, evaluates: bool) -> _Pass | None:
        """The pass over a source that is left where this iterator begins a new one."""
        before = self._trained.get(source)
        # Within a pass that is evaluated its iterator lives on. What begins in eval mode may train all the same.
        if before is None or (evaluates and any(p is before for i, p in self._passes.items() if i is not iterator)):
            return None
        return self._trained.pop(source)

    def _draws(self, iterator: Any, batch: Any) -> None:
        followed = self._passes.get(iterator)
        if followed is not None:
            self._note_steps(followed)
            if self._left is not None and self._left[0] is followed:
                self._goes_on()
            followed.drawn += 1
            if followed.trained:
                self._trained[followed.source] = followed
            followed.rows = _rows(batch)
            self._drawing = weakref.ref(iterator)

    def _goes_on(self) -> None:
        """Notes that the pass goes on that was taken to be over."""
        assert self._left is not None
        if self._left[1] == self._steps():
            self._take_back()
        self._left = None

    def _ends(self, iterator: Any) -> None:
        followed = self._passes.get(iterator)
        if followed is not None and not followed.ended:
            self._note_steps(followed)
            followed.ended = True
            self._ended |= followed.trained and followed.drawn > 1
            if self._trained.get(followed.source) is followed:
                del self._trained[followed.source]

    def _note_steps(self, followed: _Pass) -> None:
        steps = self._steps()
        if followed.drawn > 0 and steps > followed.reached:
            followed.trained = True
            self._trained_on.add(followed.source)
        followed.reached = steps


def _nothing(*_: Any) -> None:
    """What a torch does that does not begin an iterator anew."""


def _rows(values: Any) -> int | None:
    """The length of the first tensor in a batch, or in the arguments of a forward; None where there is none."""
    if isinstance(values, Tensor):
        return values.shape[0] if values.ndim else None
    if isinstance(values, Mapping):
        values = list(values.values())
    found = (_rows(value) for value in values) if isinstance(values, (list, tuple)) else ()
    return next((rows for rows in found if rows is not None), None)


def _persists(iterator: Any) -> bool:
    return bool(getattr(iterator, "_persistent_workers", False))
