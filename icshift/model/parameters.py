"""The parameters of a model: how far they go between two moments, as the length of the vector of all changes, and a
hash by which the same ones are known again."""

from __future__ import annotations

import math
from collections.abc import Collection
from hashlib import blake2b
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.model.names import modules, own_parameters, parameters

Copy: TypeAlias = dict[tuple[str, str], Tensor]
"""Parameters by module and name."""

MOST = 1 << 28
"""Models with more parameters are not followed: a copy of them is kept in the host's memory."""

MOST_PARTS = 20
"""Parts of a training that are followed at a time."""

MOST_COPIED = 1 << 20
"""Parameters of a model of which several copies are kept: up to six, of 4 MiB each."""


class Parameters:
    """Follows all floating-point parameters of a model from where they are now. A tied parameter counts once.

    A model of more than `MOST` parameters is not followed, nor one whose parameters are split over processes or on the
    meta device. Lazy parameters count from the call after the one that gave them a shape.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> followed = Parameters(layer)
    >>> with torch.no_grad():
    ...     layer.weight += torch.tensor([[3.0, 4.0]])
    >>> round(followed.change(), 4)
    5.0
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._before = self.copy()
        self._known: tuple[str | None, bytes] = (None, b"")
        """The first fingerprint that was asked for, and what `_sign` returned then."""

    def change(self) -> float | None:
        """The L2 norm of the change of all parameters since the last call (the first: since it was made).

        Differences are as precise as the parameters, and added up in double precision. Parameters that are new or have
        another shape do not count. None where nothing is followed, or the norm is not finite.
        """
        before, self._before = self._before, self.copy()
        return length(before, self._before)

    def moved(self) -> bool:
        """Whether any parameter differs from what it was at the last call of `change`."""
        return any(
            before.shape == parameter.shape and not torch.equal(before, parameter.detach().to("cpu"))
            for place, parameter in self._places().items()
            if (before := self._before.get(place)) is not None
        )

    def fingerprint(self) -> str | None:
        """A hash of names, types, shapes and bytes of all parameters as they are now: 32 hexadecimal digits.

        None where they are not followed or lazy. One parameter at a time is copied to the host, which takes about a
        second a gigabyte.
        """
        if any(is_lazy(parameter) for parameter in parameters(self._model)):
            return None
        digest, sign = blake2b(digest_size=16), self._sign()
        places = self._places()
        for (module, own), parameter in places.items():
            values = parameter.detach()
            digest.update(f"{module} {own} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(_bytes(values))
        found = digest.hexdigest() if places else None
        self._known = self._known if self._known[0] else (found, sign)
        return found

    def mark(self) -> str | None:
        """A hash of some numbers of every parameter, by which a checkpoint is known again; None where not followed.

        Up to 64 numbers of each, spread evenly: it takes no longer for a large model.
        """
        places = self._places()
        digest = blake2b(digest_size=16)
        for (module, own), parameter in places.items():
            values = parameter.detach()
            digest.update(f"{module} {own} {values.dtype} {tuple(values.shape)}".encode())
            flat = values.reshape(-1)
            digest.update(_bytes(flat[:: max(flat.numel() // 64, 1)].clone()))
        return digest.hexdigest() if places else None

    def back(self) -> bool:
        """Whether all parameters are as they were at the first `fingerprint`; where they are not, it is soon told.

        False where there was none.
        """
        first, sign = self._known
        return first is not None and self._sign() == sign and self.fingerprint() == first

    def _sign(self) -> bytes:
        """A hash of the smallest parameter."""
        smallest = min(self._places().values(), key=Tensor.numel, default=None)
        return b"" if smallest is None else blake2b(_bytes(smallest.detach())).digest()

    def copy(self) -> Copy:
        """Returns all parameters as they are now, by module and name; none where the model is not followed."""
        return {place: parameter.detach().to("cpu", copy=True) for place, parameter in self._places().items()}

    def count(self) -> int:
        """How many numbers the parameters are that are followed."""
        return sum(parameter.numel() for parameter in self._places().values())

    def _places(self) -> dict[tuple[str, str], nn.Parameter]:
        """All parameters by module and name; none where the model is not followed."""
        # By names without wrappers: parts may be compiled in the meantime. Tied parameters count once.
        places: dict[nn.Parameter, tuple[str, str]] = {}
        for name, module in modules(self._model).items():
            for own, parameter in own_parameters(module).items():
                if _has_numbers(parameter):
                    places.setdefault(parameter, (name, own))
        if not all(map(_is_here, places)) or sum(parameter.numel() for parameter in places) > MOST:
            return {}
        return {place: parameter for parameter, place in places.items()}


class Stretches:
    """How far the parameters go over parts of a training, each and two, four and more neighbours together.

    Parts are equally long and at most `MOST_PARTS`: then every two are joined. What two of them are together does not
    follow from what each is, so that copies are kept from where longer stretches began, of models with at most
    `MOST_COPIED` parameters.

    >>> layer = nn.Linear(2, 1, bias=False)
    >>> stretches = Stretches(Parameters(layer))
    >>> for there in ([3.0, 0.0], [0.0, 4.0]):
    ...     with torch.no_grad():
    ...         layer.weight += torch.tensor([there])
    ...     print(round(stretches.ended(), 4))
    3.0
    4.0
    >>> [round(change, 4) for change in stretches.joined()]
    [5.0]
    """

    def __init__(self, parameters: Parameters) -> None:
        self.moved = False
        """Whether parameters were seen to differ from where they began."""
        self._parameters = parameters
        self._follows = parameters.count() <= MOST_COPIED
        self._begun = parameters.copy() if self._follows else {}
        self._marks = [self._begun] * MOST_PARTS.bit_length()
        self._changes: list[list[float | None]] = [[] for _ in self._marks]

    def follow(self, parameters: Parameters) -> None:
        """Go on with those of another model: all stretches under way count from now."""
        self._parameters = parameters
        self._begun = parameters.copy() if self._follows else {}
        self._marks = [self._begun for _ in self._marks]

    def ended(self) -> float | None:
        """A part has ended: returns how far the parameters went over it, None where they are not followed."""
        self.moved = self.moved or self._parameters.moved()
        now = self._parameters.copy() if self._follows else {}
        parts = len(self._changes[0]) + 1
        for level in range(len(self._marks)):
            if parts % (1 << level) == 0:
                self._changes[level].append(length(self._marks[level], now))
                self._marks[level] = now
        return self._changes[0][-1]

    def joined(self) -> list[float | None]:
        """Every two parts are one from now on: returns how far the parameters went over each."""
        self._changes = [*self._changes[1:], []]
        self._marks = [*self._marks[1:], self._begun]
        return self._changes[0]


def length(before: Copy, after: Copy) -> float | None:
    """Returns the L2 norm of the difference of two copies, as precise as these.

    Parameters that are not in both, or have another shape, do not count. None where there are none, or the norm is not
    finite.
    """
    pairs = [(a, b) for place, b in after.items() if (a := before.get(place)) is not None]
    norms = [_distance(a, b) for a, b in pairs if a.shape == b.shape]
    if not norms:
        return None
    total = float(torch.stack(norms).norm())
    return total if math.isfinite(total) else None


def _has_numbers(parameter: nn.Parameter) -> bool:
    return not is_lazy(parameter) and (parameter.is_floating_point() or parameter.is_complex())


def _is_here(parameter: nn.Parameter) -> bool:
    # A tensor that is split is of a class of its own: to look into it would wait for the other processes.
    return type(parameter.detach()) is Tensor and not parameter.is_meta


def _bytes(values: Tensor) -> memoryview:
    values = torch.view_as_real(values.resolve_conj()) if values.is_complex() else values
    return values.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def _distance(a: Tensor, b: Tensor) -> Tensor:
    if a.is_complex():
        a, b = torch.view_as_real(a.resolve_conj()), torch.view_as_real(b.resolve_conj())
    # The difference of two close numbers is exact; half types have too few digits for that of any two.
    a, b = (part.float() if part.dtype in (torch.float16, torch.bfloat16) else part for part in (a, b))
    return torch.linalg.vector_norm(b - a, dtype=torch.float64)


def has_gradients(module: nn.Module, besides: Collection[nn.Parameter] = ()) -> bool:
    """Whether a parameter of a module, other than these, has a gradient now, whatever its value."""
    return any(parameter.grad is not None and parameter not in besides for parameter in parameters(module))
