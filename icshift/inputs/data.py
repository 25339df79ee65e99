"""Data for a model: files, arrays, datasets and loaders of every kind, made into batches that its forward takes."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from icshift import regular
from icshift.errors import IcshiftError, ModelError, message_of
from icshift.inputs.batches import Batch, cut, finite_rows, is_float, length, limited, tensors, with_each_tensor
from icshift.inputs.files import READERS, as_tensor
from icshift.inputs.rows import drawn
from icshift.inputs.shuffled import Shuffled, shuffled
from icshift.inputs.specs import resolve

ToArguments = Callable[[Any, nn.Module, str], Batch]
"""Makes the arguments of a forward out of the values of a batch: a tuple, a mapping, or a `Batch` already."""

_SEED = 20150211


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs of a model in batches, and where they came from.

    `examples` counts them all, `nonfinite` the NaN and infinite values among them, which stay as they are. Batches that
    came as such are in memory, all of them; those of arrays are `Shuffled`, one in memory at a time.

    >>> data = as_data(torch.zeros(100, 3), nn.Linear(3, 2), Reading(batch_size=40))
    >>> data.examples, [length(batch) for batch in data.batches]
    (100, [33, 34, 33])
    """

    source: str
    batches: Sequence[Batch]
    examples: int
    nonfinite: int

    @property
    def fingerprint(self) -> str:
        """A hash of every tensor in order, of 16 hexadecimal digits: other data have another one."""
        digest = sha256()
        for tensor in self.tensors():
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{array.dtype} {tuple(array.shape)}".encode())
            digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> Iterator[Tensor]:
        """Yields every tensor of every batch."""
        for batch in self.batches:
            yield from tensors(batch)

    def parts(self, least: int) -> Sequence[Batch]:
        """The same examples in smaller batches: at least so many, of almost equal size, where there are so many.

        Arrays give a multiple of `least`. Batches that cannot be cut stay whole.
        """
        if isinstance(self.batches, Shuffled):
            return self.batches.in_pieces(least * math.ceil(len(self.batches) / least))
        pieces = math.ceil(least / len(self.batches))
        return tuple(piece for batch in self.batches for piece in cut(batch, pieces))

    def share(self, rank: int, ranks: int) -> Data:
        """Returns the part of the batches that is this process's of so many, neighbours of each other.

        Raises `ModelError` where there are fewer batches than processes.
        """
        if len(self.batches) < ranks:
            raise ModelError(
                f"{ranks} processes for {self.source}, which is {len(self.batches)} batches: start at most as many "
                "processes, or take smaller batches (--batch-size)"
            )
        first, last = (len(self.batches) * part // ranks for part in (rank, rank + 1))
        own = self.batches[first:last]
        return replace(self, batches=own, examples=sum(map(length, own)), nonfinite=sum(map(_nonfinite, own)))

    def finite(self) -> Data:
        """The same without the examples that hold a non-finite value; there may be none left."""
        if not self.nonfinite:
            return self
        if isinstance(self.batches, Shuffled):
            finite = self.batches.finite()
            return Data(self.source, finite, finite.examples, 0)
        kept = [finite_rows(batch) for batch in self.batches]
        batches = tuple(batch for batch in kept if batch is not None and length(batch))
        return Data(self.source, batches, sum(map(length, batches)), 0)


@dataclass(frozen=True)
class Reading:
    """How data are read: how many examples a batch, at most how many in all, onto which device, as which type.

    `dtype` names the type of floating-point values; without one they are of the type of the model's parameters. Of
    arrays and of map-style datasets `limit` examples are drawn at random, of batches they are the first.
    """

    batch_size: int = 256
    limit: int | None = None
    device: str = "cpu"
    dtype: str | None = None


def place(model: nn.Module, reading: Reading) -> None:
    """Moves a model to the device and type of the data. Raises `ModelError` where either cannot be used."""
    dtype = _checked_dtype(reading)
    try:
        model.to(device=reading.device, dtype=dtype)
    except (RuntimeError, NotImplementedError) as error:
        raise ModelError(f"{type(model).__name__} cannot be put on {reading.device}: {message_of(error)}") from error


def read_data(spec: str, model: nn.Module, reading: Reading) -> Data:
    """Data from a file (.npz, .npy, .pt, .safetensors, .csv, .parquet) or from code (`package.module:callable`).

    Several arrays are keyword arguments where the model's forward has parameters of their names, else positional in
    their order. Code may give a tensor, a tuple or dictionary of tensors, a dataset, or batches (as a DataLoader): of a
    batch that is a tuple the model gets as many as its forward asks for. Raises `ModelError` where nothing can be
    made of it.
    """
    return as_data(contents(spec, reading.limit), model, reading, spec)


def contents(spec: str, limit: int | None = None) -> Any:
    """What a file holds or code gives, as it is; of arrays in a file it may be `limit` rows, as `as_data` draws them.

    Raises `ModelError` where there is no such thing or it fails.
    """
    suffix = Path(spec).suffix.lower()
    if suffix in READERS:
        if not Path(spec).exists():
            raise ModelError(f"no such file: {spec}")
        try:
            regular.opened(Path(spec)).close()
            return READERS[suffix](Path(spec), limit)
        except ModelError as error:
            raise ModelError(str(error) if str(error).startswith(spec) else f"{spec}: {error}") from error
        except Exception as error:
            raise ModelError(
                f"{spec} cannot be read as {suffix}: {type(error).__name__}: {message_of(error)}"
            ) from error
    if ":" not in spec:
        raise ModelError(f"{spec!r} is no data: expected a file ({', '.join(READERS)}) or package.module:callable")
    named = resolve(spec)
    if not callable(named) or isinstance(named, Tensor):
        return named
    try:
        return named()
    except Exception as error:
        raise ModelError(f"{spec}() failed: {type(error).__name__}: {message_of(error)}") from error


def forward_arguments(values: Any, model: nn.Module, source: str) -> Batch:
    """The values of a batch that a forward has parameters for; those that a tuple holds after them are targets.

    Raises `ModelError` where values have names and none is that of a parameter.
    """
    if isinstance(values, Mapping):
        return _by_name(dict(values), model, source)
    if _is_batch(values):
        return values
    return values[: _positional_count(model, len(values))], {}


def required_arguments(model: nn.Module) -> int:
    """How many positional arguments a forward must get: those without a default.

    >>> required_arguments(nn.Bilinear(2, 2, 1))
    2
    """
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(parameter.kind in kinds and parameter.default is parameter.empty for parameter in parameters)


def as_data(
    given: Any,
    model: nn.Module,
    reading: Reading,
    source: str = "the data",
    *,
    to_arguments: ToArguments = forward_arguments,
) -> Data:
    """`Data` out of what code gives: arrays, tensors, a dataset, batches (`read_data` lists all); `Data` as they are.

    The examples of arrays and map-style datasets are shuffled, always in the same way: files are often sorted by class,
    and statistics of a batch of one class are not those of the data. Batches stay as they come. Raises `ModelError`
    where nothing can be made of it, or it holds no example.
    """
    if isinstance(given, Data):
        return given
    _checked_dtype(reading)
    arrays = _arrays(given, model, source, to_arguments)
    place = _placing(model, reading)
    try:
        if arrays is not None:
            batches: Sequence[Batch] = shuffled(
                arrays, _order(arrays, source, reading.limit), reading.batch_size, place
            )
        else:
            first = limited(_batches(given, model, source, reading, to_arguments), reading.limit)
            batches = tuple(with_each_tensor(batch, place) for batch in first)
        examples = batches.examples if isinstance(batches, Shuffled) else sum(map(length, batches))
        nonfinite = sum(map(_nonfinite, batches))
    except IcshiftError:
        raise
    except Exception as error:
        raise ModelError(
            f"{source} cannot be made into batches: {type(error).__name__}: {message_of(error)}"
        ) from error
    if not examples:
        raise ModelError(f"{source} holds no rows")
    return Data(source, batches, examples, nonfinite)


def _nonfinite(batch: Batch) -> int:
    return sum(int((~tensor.isfinite()).sum()) for tensor in tensors(batch) if is_float(tensor))


def _checked_dtype(reading: Reading) -> torch.dtype | None:
    """The type, if one is named. The device must be there and the type known, before anything is moved."""
    try:
        torch.zeros(1, device=reading.device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ModelError(f"device {reading.device!r} cannot be used: {str(error).splitlines()[0]}") from error
    if reading.dtype is None:
        return None
    dtype = getattr(torch, reading.dtype, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ModelError(f"dtype {reading.dtype!r} is no floating-point type of torch: expected float32, bfloat16, …")
    return dtype


def _arrays(given: Any, model: nn.Module, source: str, to_arguments: ToArguments) -> Batch | None:
    """All of the data as the arguments of one forward where they are arrays; None where they are batches."""
    if hasattr(given, "to_numpy"):
        given = given.to_numpy()
    if isinstance(given, (Tensor, np.ndarray)):
        given = (given,)
    if isinstance(given, Mapping):
        named = {str(name): as_tensor(value, f"{source}: {name}") for name, value in given.items()}
        return to_arguments(named, model, source)
    if isinstance(given, tuple) and any(isinstance(part, (Tensor, np.ndarray)) for part in given):
        parts = tuple(as_tensor(part, source) if isinstance(part, np.ndarray) else part for part in given)
        return to_arguments(parts, model, source)
    return None


def _batches(given: Any, model: nn.Module, source: str, reading: Reading, to_arguments: ToArguments) -> Iterator[Batch]:
    if isinstance(given, Dataset):
        order = torch.Generator().manual_seed(_SEED) if hasattr(given, "__len__") else None
        given = DataLoader(given, reading.batch_size, shuffle=None if order is None else True, generator=order)
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise ModelError(f"{source} gave {type(given).__name__}: expected tensors, or batches of them")
    for batch in given:
        if isinstance(batch, Mapping):
            yield to_arguments({str(name): value for name, value in batch.items()}, model, source)
        else:
            yield to_arguments(tuple(batch) if isinstance(batch, (tuple, list)) else (batch,), model, source)


def _is_batch(values: tuple[Any, ...]) -> bool:
    """Whether they are positional and keyword arguments already."""
    return len(values) == 2 and isinstance(values[0], tuple) and isinstance(values[1], dict)


def _by_name(named: dict[str, Any], model: nn.Module, source: str) -> Batch:
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {name: value for name, value in named.items() if name in parameters}
    if takes_any and len(named) > 1:
        return (), dict(named)
    if known:
        return (), known
    if len(named) == 1 or (named and all(name.startswith("arr_") for name in named)):
        values = tuple(named.values())
        return values[: _positional_count(model, len(values))], {}
    listed = ", ".join(list(named)[:6]) + (", …" if len(named) > 6 else "")
    raise ModelError(
        f"{source} holds {listed or 'nothing'}, but forward of {type(model).__name__} takes {', '.join(parameters)}: "
        "name the arrays after its parameters"
    )


def _positional_count(model: nn.Module, there: int) -> int:
    """How many of the values that are there a forward takes as positional arguments: those after are targets."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return there
    return max(1, min(required_arguments(model), there))


def _order(arrays: Batch, source: str, limit: int | None) -> Tensor:
    """The numbers of the examples, in the order in which they are taken."""
    lengths = {len(tensor) for tensor in tensors(arrays) if tensor.ndim}
    if len(lengths) != 1:
        raise ModelError(f"{source} holds arrays of the lengths {sorted(lengths)}: expected one row an example in all")
    if any(lengths) and not any(tensor.numel() for tensor in tensors(arrays)):
        raise ModelError(f"{source} holds {lengths.pop():,} rows in which there is no number")
    return torch.from_numpy(drawn(lengths.pop(), limit))


def _placing(model: nn.Module, reading: Reading) -> Callable[[Tensor], Tensor]:
    """Puts tensors on the device, real numbers in the model's precision: files hold doubles, models floats."""
    own = (value.dtype for value in (*model.parameters(), *model.buffers()) if value.is_floating_point())
    dtype = getattr(torch, reading.dtype) if reading.dtype else next(own, torch.float32)

    def place(tensor: Tensor) -> Tensor:
        return tensor.detach().to(device=reading.device, dtype=dtype if tensor.is_floating_point() else None)

    return place
