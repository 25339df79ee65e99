"""Which examples reached a model in a window: a sum of hashes, one an example, so that their order does not matter.

Two windows of the same sum saw the same examples (but for one chance in 2^64, and for rows that differ only where
`RowHash` does not look). Where examples cannot be told apart, or not all of them were seen, nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from icshift.hooks.form import Form
from icshift.hooks.row_hash import MODULUS, LookedAt, RowHash, mixed
from icshift.model.plain import is_plain
from icshift.model.torch_private import is_ordinary, is_seen, no_subclass_sees, unseen
from icshift.runs.format import Seen
from icshift.runs.merging import merged_inputs

Inputs = tuple[tuple[Any, ...], dict[str, Any]]
"""The positional and the keyword arguments of a forward."""

_MOST = 64
"""Tensors that a forward may be given."""

_NOT_EXAMPLES = (type(None), bool, int, float, complex, str, torch.dtype, torch.device)
"""Arguments that are options; within a list they may be data."""

_COLOURS = 4
"""Channels that an image has at most."""


class _UnknownError(Exception):
    """The examples of a forward cannot be told from its arguments."""


@dataclass
class _Phase:
    """What a phase of the open window saw so far."""

    made_of: tuple[Any, ...] | None = None
    form: Form | None = None
    read: Callable[[Tensor], int] | None = None
    """Adds up the hashes of the rows of a tensor of this form."""
    examples: int = 0
    total: int = 0
    remote: dict[torch.device, Tensor] = field(default_factory=dict)
    begun: set[int] = field(default_factory=set)
    sure: bool = True
    known: bool = True


@dataclass(frozen=True, eq=False)
class Counts:
    """Where `examples` count those of a `phase`: in what is `seen` of it. None is looked `at` where it is settled that
    they are not known."""

    examples: Any
    phase: str
    seen: Any
    at: LookedAt | None


class Examples:
    """Adds up the hashes of the examples of every forward in the open window, by phase.

    >>> examples = Examples(nn.Identity(), seed=1)
    >>> for batch in ([1.0, 2.0], [3.0, 4.0]):
    ...     examples.take("train", nn.Identity(), ((torch.tensor(batch),), {}), sure=True)
    >>> before = examples.seen()["train"]
    >>> examples.new_window()
    >>> examples.take("train", nn.Identity(), ((torch.tensor([4.0, 2.0, 1.0, 3.0]),), {}), sure=True)
    >>> after = examples.seen()["train"]
    >>> after.examples, after.rows, after.hash == before.hash
    (4, '0: float32 []', True)
    """

    def __init__(self, model: nn.Module, seed: int) -> None:
        self._model = model
        self._hash = RowHash(seed)
        self._before: dict[str, Seen | None] = {}
        self._phases: dict[str, _Phase] = {}
        self._begun: dict[str, set[int]] = {}

    def follow(self, model: nn.Module) -> None:
        """Take the examples of another model from now on, in place of the one before."""
        self._model = model

    def take(self, phase: str, part: nn.Module | None, inputs: Inputs | None, *, sure: bool) -> None:
        """Add the examples of a forward that begins with `part`: of its arguments, or None where nobody saw them.

        Parts of the model may be called one after the other, each with what the one before gave: `sure` says that,
        where one part alone is called, it is called with examples. Never raises.
        """
        seen = self._phases.get(phase)
        if seen is None:
            seen = self._phases[phase] = _Phase(begun=self._begun.setdefault(phase, set()))
        if not seen.known:
            return
        try:
            seen.begun.add(id(part))
            seen.sure &= len(seen.begun) == 1 and (sure or part is self._model)
            if not self._adds_again(seen, inputs):
                self._add(seen, inputs)
        except Exception:  # noqa: BLE001  It must not reach the training.
            seen.known = False

    def take_again(self, phase: str, part: nn.Module, given: Tensor) -> bool:
        """Do as `take` for examples of a step, if `given` is all there is and it and the part are as before; returns
        whether. Its class is PyTorch's own, and nothing sees that it is looked at."""
        seen = self._phases.get(phase)
        if seen is None or id(part) not in seen.begun:
            return False
        return not seen.known or _adds(seen, given)

    def counts(self, phase: str, given: Tensor) -> Counts | None:
        """Returns where `take_again` counted this tensor, and by what; None where that is not for the native kernel."""
        seen = self._phases[phase]
        at = self._hash.looked_at(given, "0") if seen.known else None
        return None if seen.known and at is None else Counts(self, phase, seen, at)

    def unknown(self, phase: str) -> bool:
        """Whether it is settled that the examples of this phase are not known, in this part of the window."""
        seen = self._phases.get(phase)
        return seen is not None and not seen.known

    def seen(self) -> dict[str, Seen | None]:
        """Returns what is known of every phase that had a forward; None where it is not. It waits for the device."""
        return merged_inputs([self._before, self.part()]) or {}

    def part(self) -> dict[str, Seen | None]:
        """Returns the same of the open part of the open window."""
        return {phase: self._total(seen) for phase, seen in self._phases.items()}

    def next_part(self) -> None:
        """Begin the next part of the open window."""
        self._before = self.seen()
        self._phases = {}

    def new_window(self) -> None:
        """Begin to count anew."""
        self._before, self._phases, self._begun = {}, {}, {}

    def _adds_again(self, seen: _Phase, inputs: Inputs | None) -> bool:
        """Add the examples of a forward that has one argument, a tensor of the form that it had before; else return
        False."""
        if seen.form is None or inputs is None or len(inputs[0]) != 1 or inputs[1]:
            return False
        given = inputs[0][0]
        return type(given) is Tensor and is_ordinary() and _adds(seen, given)

    def _add(self, seen: _Phase, inputs: Inputs | None) -> None:
        # A tensor of the user's own kind, or a mode, must not notice that it is looked at.
        with unseen() if is_seen() else no_subclass_sees():
            found = list(islice(_tensors(inputs), _MOST + 1))
            if not found or len(found) > _MOST:
                raise _UnknownError
            length, device = found[0][1].shape[0], found[0][1].device
            if not length:
                return
            refuse_strange(found, device)
            total = self._sum(found, length)
            made_of = tuple((name, tensor.dtype, tensor.shape[1:]) for name, tensor in found)
            seen.sure &= seen.made_of in (None, made_of) and _rows_are_examples(found, length)
            alone = len(found) == 1 and device.type == "cpu" and found[0][0] == "0"
            seen.form = Form(found[0][1]) if alone else None
            seen.read = self._hash.reader(found[0][1], "0") if alone else None
        if device.type == "cpu":
            seen.total = (seen.total + int(total)) % MODULUS
        else:
            # Not in place: what was made in inference mode may not be changed outside of it.
            seen.remote[device] = seen.remote[device] + total if device in seen.remote else total
        seen.examples += length
        seen.made_of = made_of

    def _sum(self, found: list[tuple[str, Tensor]], length: int) -> Any:
        """Returns the sum of the hashes of so many examples, modulo 2^64."""
        if len(found) == 1 and found[0][1].device.type == "cpu":
            return self._hash.total(found[0][1], found[0][0])
        total: Any = 0
        for name, tensor in found:
            if tensor.shape[0] == length:
                total = total + self._hash.rows(tensor, name)
            else:
                # No example has a row of it: it is taken as a whole, and its order may be that of the examples.
                total = total + mixed(self._hash.rows(tensor.reshape(1, -1), name))
        return mixed(total).sum()

    def _total(self, seen: _Phase) -> Seen | None:
        if not seen.known or _time_comes_first(self._model):
            return None
        total = seen.total + sum(int(part) for part in seen.remote.values())
        return Seen(seen.examples, f"{total % MODULUS:016x}", _described(seen.made_of) if seen.sure else None)


def _adds(seen: _Phase, given: Tensor) -> bool:
    """Add the examples of a tensor of the form that the one before had; returns whether it has it."""
    if seen.read is None or seen.form is None or not seen.form.fits(given):
        return False
    seen.total = (seen.total + seen.read(given)) % MODULUS
    seen.sure &= given.grad_fn is None
    seen.examples += given.shape[0]
    return True


def _described(made_of: tuple[Any, ...] | None) -> str:
    parts = (f"{name}: {str(dtype).removeprefix('torch.')} {list(shape)}" for name, dtype, shape in made_of or ())
    return ", ".join(parts)


def refuse_strange(found: list[tuple[str, Tensor]], device: torch.device) -> None:
    """Raise where a tensor is not plain or not on the first one's device, and on any CUDA stream but the usual one.

    What is added up on several streams is not read in time, and a graph that is made of one must not hold our work.
    """
    if any(not is_plain(tensor) or tensor.device != device for _, tensor in found):
        raise _UnknownError
    if device.type == "cuda" and torch.cuda.current_stream(device) != torch.cuda.default_stream(device):
        raise _UnknownError


def _rows_are_examples(found: list[tuple[str, Tensor]], length: int) -> bool:
    """Whether it is certain that a row of every tensor belongs to one example, and is not what a network made of it.

    Of tensors but the first, a square one may be a mask of positions.
    """
    return all(tensor.shape[0] == length and tensor.grad_fn is None for _, tensor in found) and not any(
        tensor.ndim == 2 and tensor.shape[1] == length for _, tensor in found[1:]
    )


def _time_comes_first(model: nn.Module) -> bool:
    """Whether the first axis of inputs may be time."""
    return any(
        getattr(module, "batch_first", True) is False
        and isinstance(module, (nn.RNNBase, nn.MultiheadAttention, nn.Transformer))
        for module in model.modules()
    )


def _tensors(inputs: Inputs | None) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor with at least one axis, after a name for its place. Raises where there may be other data."""
    if inputs is None:
        raise _UnknownError
    args, kwargs = inputs
    for name, value in (*enumerate(args), *kwargs.items()):
        if not isinstance(value, _NOT_EXAMPLES):
            yield from _within(str(name), value)


def _within(name: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        if value.ndim:
            yield name, value
        return
    for key, part in _parts(value):
        yield from _within(f"{name}.{key}", part)


def _parts(value: Any) -> list[tuple[Any, Any]]:
    """Returns what a value holds that may be data, after its names. Raises where that cannot be told."""
    if isinstance(value, (list, tuple)) and not isinstance(value, PackedSequence) and not _are_images(value):
        return [(place, part) for place, part in enumerate(value) if part is not None]
    if isinstance(value, Mapping):
        named = list(value.items())
    elif is_dataclass(value) and not isinstance(value, type):
        named = [(part.name, getattr(value, part.name)) for part in fields(value)]
    else:
        raise _UnknownError
    return [(name, part) for name, part in named if not isinstance(part, _NOT_EXAMPLES)]


def _are_images(values: Sequence[Any]) -> bool:
    """Whether each tensor of a list may be an example, as detectors take images: then no axis runs over examples."""
    if isinstance(values, tuple):
        return False
    shapes = [tuple(value.shape) for value in values if isinstance(value, Tensor)]
    return len(shapes) > 1 and any(len(shape) == 3 and shape[0] <= _COLOURS for shape in shapes)
