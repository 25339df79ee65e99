"""The parameters of a model: how far they go between two moments, as the length of the vector of all changes, and a
hash by which the same ones are known again."""

from __future__ import annotations

import math
from hashlib import blake2b

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from icshift.model.names import modules

MOST = 1 << 28
"""Models with more parameters are not followed: a copy of them is kept in the host's memory."""


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
        self._before = self._copy()

    def change(self) -> float | None:
        """The L2 norm of the change of all parameters since the last call (the first: since it was made).

        It is computed in double precision. Parameters that are new or have another shape do not count. None where
        nothing is followed, or the norm is not finite.
        """
        before, self._before = self._before, self._copy()
        pairs = [(a, b) for name, b in self._before.items() if (a := before.get(name)) is not None]
        norms = [_distance(a, b) for a, b in pairs if a.shape == b.shape]
        if not norms:
            return None
        total = float(torch.stack(norms).norm())
        return total if math.isfinite(total) else None

    def fingerprint(self) -> str | None:
        """A hash of names, types, shapes and bytes of all parameters as they are now: 32 hexadecimal digits.

        None where they are not followed or lazy. One parameter at a time is copied to the host, which takes about a
        second a gigabyte.
        """
        if any(is_lazy(parameter) for parameter in self._model.parameters()):
            return None
        digest = blake2b(digest_size=16)
        places = self._places()
        for (module, own), parameter in places.items():
            values = parameter.detach()
            digest.update(f"{module} {own} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(_bytes(values))
        return digest.hexdigest() if places else None

    def _copy(self) -> dict[tuple[str, str], Tensor]:
        return {place: parameter.detach().to("cpu", copy=True) for place, parameter in self._places().items()}

    def _places(self) -> dict[tuple[str, str], nn.Parameter]:
        """All parameters by module and name; none where the model is not followed."""
        # By names without wrappers: parts may be compiled in the meantime. Tied parameters count once.
        places: dict[nn.Parameter, tuple[str, str]] = {}
        for name, module in modules(self._model).items():
            for own, parameter in module._parameters.items():
                if parameter is not None and _has_numbers(parameter):
                    places.setdefault(parameter, (name, own))
        if not all(map(_is_here, places)) or sum(parameter.numel() for parameter in places) > MOST:
            return {}
        return {place: parameter for parameter, place in places.items()}


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
    return (b.double() - a.double()).norm()
