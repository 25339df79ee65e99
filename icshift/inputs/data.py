"""Inputs for a model, from files and from code."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from icshift.errors import IcshiftError, ModelError
from icshift.inputs.files import READERS, as_tensor, line
from icshift.inputs.specs import resolve

Batch = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of one forward."""

Choice = Callable[[Any, nn.Module, str], Batch]
"""Takes the arguments of a forward from the values of a batch: a tuple, a mapping, or a `Batch` already."""

_SEED = 20150211

_PLAIN = (int, float, bool, str, type(None))


@dataclass(frozen=True, eq=False)
class Data:
    """Inputs of a model in batches, all in memory; `nonfinite` values among them are counted and left as they are.

    `whole` are all of the inputs as the arguments of one forward, where they came as arrays and not in batches.
    """

    source: str
    batches: tuple[Batch, ...]
    examples: int
    nonfinite: int
    whole: Batch | None = None

    @property
    def fingerprint(self) -> str:
        """Tells other data from this: a hash of every tensor in order."""
        digest = sha256()
        for tensor in self.tensors():
            array = tensor.detach().cpu().contiguous()
            digest.update(f"{array.dtype} {tuple(array.shape)}".encode())
            digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of every batch."""
        for positional, keyword in self.batches:
            yield from _tensors((positional, keyword))

    def parts(self, least: int) -> tuple[Batch, ...]:
        """The same examples in smaller batches: at least so many, of almost equal size, where there are so many.

        Arrays give a multiple of `least`. Batches that hold more than tensors of one length stay whole.
        """
        if self.whole is not None:
            return tuple(_cut(self.whole, least * math.ceil(len(self.batches) / least)))
        pieces = math.ceil(least / len(self.batches))
        return tuple(piece for batch in self.batches for piece in _cut(batch, pieces))

    def finite(self) -> Data:
        """The same without the examples that hold a non-finite value; there may be none left."""
        if not self.nonfinite:
            return self
        kept = [_finite_rows(batch) for batch in self.batches]
        batches = tuple(batch for batch in kept if batch is not None and length(batch))
        whole = None if self.whole is None else _finite_rows(self.whole)
        return Data(self.source, batches, sum(map(length, batches)), 0, whole)


@dataclass(frozen=True)
class Reading:
    """How data are read: examples a batch, at most how many, on which device, floating-point values as which type.

    Without a type they are of the model's own. Of arrays and of map-style datasets, `limit` examples are drawn at
    random, of batches they are the first.
    """

    batch_size: int = 256
    limit: int | None = None
    device: str = "cpu"
    dtype: str | None = None


def place(model: nn.Module, reading: Reading) -> None:
    """Put a model where the data will be. Raises `ModelError` for a device or type that cannot be used."""
    dtype = _require(reading)
    try:
        model.to(device=reading.device, dtype=dtype)
    except (RuntimeError, NotImplementedError) as error:
        raise ModelError(f"{type(model).__name__} cannot be put on {reading.device}: {line(error)}") from error


def read(spec: str, model: nn.Module, reading: Reading) -> Data:
    """Data from a file (.npz, .npy, .pt, .safetensors, .csv, .parquet) or from code (`package.module:callable`).

    Several arrays are keyword arguments where the model's forward has parameters of their names, else positional in
    their order. Code may give a tensor, a tuple or dictionary of tensors, a dataset, or batches (as a DataLoader): of a
    batch that is a tuple the model gets as many as its forward asks for. Raises `ModelError` where nothing can be
    made of it.
    """
    return of(contents(spec), model, reading, spec)


def contents(spec: str) -> Any:
    """What a file holds or code gives, as it is. Raises `ModelError` where there is no such thing or it fails."""
    suffix = Path(spec).suffix.lower()
    if suffix in READERS:
        if not Path(spec).is_file():
            raise ModelError(f"no such file: {spec}")
        try:
            return READERS[suffix](Path(spec))
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"{spec} cannot be read as {suffix}: {type(error).__name__}: {line(error)}") from error
    if ":" not in spec:
        raise ModelError(f"{spec!r} is no data: expected a file ({', '.join(READERS)}) or package.module:callable")
    found = resolve(spec)
    if not callable(found) or isinstance(found, Tensor):
        return found
    try:
        return found()
    except Exception as error:
        raise ModelError(f"{spec}() failed: {type(error).__name__}: {line(error)}") from error


def arguments(values: Any, model: nn.Module, source: str) -> Batch:
    """What a forward gets of the values of a batch: those that it has parameters for; the last of a tuple are targets.

    Raises `ModelError` where names tell nothing.
    """
    if isinstance(values, Mapping):
        return _named(dict(values), model, source)
    if _is_batch(values):
        return values
    return values[: _wanted(model, len(values))], {}


def required(model: nn.Module) -> int:
    """How many positional arguments a forward must get."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(parameter.kind in kinds and parameter.default is parameter.empty for parameter in parameters)


def of(given: Any, model: nn.Module, reading: Reading, source: str = "the data", *, choice: Choice = arguments) -> Data:
    """Data from what code gives, as `read` takes it; `Data` as they are.

    The examples of arrays and map-style datasets are shuffled, always in the same way: files are often sorted by class,
    and statistics of a batch of one class are not those of the data. Batches stay as they come.
    """
    if isinstance(given, Data):
        return given
    _require(reading)
    found = _arrays(given, model, source, choice)
    try:
        if found is not None:
            whole = _moved(_shuffled(found, source, reading.limit), model, reading)
            batches = tuple(_cut(whole, math.ceil(length(whole) / reading.batch_size)))
        else:
            whole = None
            limited = _limited(_batches(given, model, source, reading, choice), reading.limit)
            batches = tuple(_moved(batch, model, reading) for batch in limited)
    except IcshiftError:
        raise
    except Exception as error:
        raise ModelError(f"{source} cannot be made into batches: {type(error).__name__}: {line(error)}") from error
    examples = sum(map(length, batches))
    if not examples:
        raise ModelError(f"{source} holds no rows")
    data = Data(source, batches, examples, 0, whole)
    nonfinite = sum(int((~tensor.isfinite()).sum()) for tensor in data.tensors() if _is_float(tensor))
    return Data(source, batches, examples, nonfinite, whole)


def forward(model: nn.Module, batch: Batch, source: str) -> Any:
    """Send copies of a batch through the model, which may begin with an operation in place; gives its output.

    Raises `ModelError` with the shapes where the model does not take it.
    """
    positional, keyword = _each(batch, Tensor.clone)
    try:
        return model(*positional, **keyword)
    except Exception as error:
        if "more than 1 value per channel" in str(error):
            raise ModelError(
                f"{source}: a batch of {shapes(batch)} is too small for batch norm by the batch: "
                "take a larger batch size (--batch-size), or running averages"
            ) from error
        of_types = any(word in str(error) for word in ("dtype", "scalar type", "Long", "Int", "long int"))
        whole_numbers = of_types and any(not _is_float(tensor) for tensor in _tensors(batch))
        hint = "; numbers without a fraction stay integers: save them as floats" if whole_numbers else ""
        raise ModelError(
            f"{type(model).__name__} does not take the data of {source}, batches of {shapes(batch)}: "
            f"{type(error).__name__}: {line(error)}{hint}"
        ) from error


def shapes(batch: Batch) -> str:
    """Shapes and types of a batch, in words."""
    positional, keyword = batch
    shown = [_shape(value) for value in positional] + [f"{name}={_shape(value)}" for name, value in keyword.items()]
    return ", ".join(shown)


def _shape(value: Any) -> str:
    if not isinstance(value, Tensor):
        return type(value).__name__
    return f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"


def _require(reading: Reading) -> torch.dtype | None:
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


def _arrays(given: Any, model: nn.Module, spec: str, choice: Choice) -> Batch | None:
    """All of the data as the arguments of one forward, where they are arrays and not batches of them."""
    if hasattr(given, "to_numpy"):
        given = given.to_numpy()
    if isinstance(given, (Tensor, np.ndarray)):
        given = (given,)
    if isinstance(given, Mapping):
        return choice({str(name): as_tensor(value, f"{spec}: {name}") for name, value in given.items()}, model, spec)
    if isinstance(given, tuple) and any(isinstance(part, (Tensor, np.ndarray)) for part in given):
        parts = tuple(as_tensor(part, spec) if isinstance(part, np.ndarray) else part for part in given)
        return choice(parts, model, spec)
    return None


def _batches(given: Any, model: nn.Module, spec: str, reading: Reading, choice: Choice) -> Iterator[Batch]:
    if isinstance(given, Dataset):
        order = torch.Generator().manual_seed(_SEED) if hasattr(given, "__len__") else None
        given = DataLoader(given, reading.batch_size, shuffle=None if order is None else True, generator=order)
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        raise ModelError(f"{spec} gave {type(given).__name__}: expected tensors, or batches of them")
    for batch in given:
        if isinstance(batch, Mapping):
            yield choice({str(name): value for name, value in batch.items()}, model, spec)
        else:
            yield choice(tuple(batch) if isinstance(batch, (tuple, list)) else (batch,), model, spec)


def _is_batch(values: tuple[Any, ...]) -> bool:
    """Whether they are positional and keyword arguments already."""
    return len(values) == 2 and isinstance(values[0], tuple) and isinstance(values[1], dict)


def _named(named: dict[str, Any], model: nn.Module, spec: str) -> Batch:
    parameters = inspect.signature(model.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {name: value for name, value in named.items() if name in parameters}
    if takes_any and len(named) > 1:
        return (), dict(named)
    if known:
        return (), known
    if len(named) == 1 or (named and all(name.startswith("arr_") for name in named)):
        values = tuple(named.values())
        return values[: _wanted(model, len(values))], {}
    listed = ", ".join(list(named)[:6]) + (", …" if len(named) > 6 else "")
    raise ModelError(
        f"{spec} holds {listed or 'nothing'}, but forward of {type(model).__name__} takes {', '.join(parameters)}: "
        "name the arrays after its parameters"
    )


def _wanted(model: nn.Module, there: int) -> int:
    """How many of the positional arguments that are there a forward asks for: those after are targets."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return there
    return max(1, min(required(model), there))


def _shuffled(batch: Batch, spec: str, limit: int | None) -> Batch:
    lengths = {len(tensor) for tensor in _tensors(batch) if tensor.ndim}
    if len(lengths) != 1:
        raise ModelError(f"{spec} holds arrays of the lengths {sorted(lengths)}: expected one row an example in all")
    order = torch.from_numpy(np.random.default_rng(_SEED).permutation(lengths.pop())[:limit])
    return _each(batch, lambda tensor: tensor[order.to(tensor.device)] if tensor.ndim else tensor)


def _cut(batch: Batch, pieces: int) -> Iterator[Batch]:
    """A batch in so many pieces of almost equal size, but none without an example; whole where it cannot be cut."""
    if not _is_cuttable(batch):
        yield batch
        return
    rows = length(batch)
    edges = np.linspace(0, rows, min(pieces, rows) + 1).round().astype(int).tolist()
    for start, stop in pairwise(edges):
        yield _rows(batch, slice(start, stop))


def _limited(batches: Iterator[Batch], limit: int | None) -> Iterator[Batch]:
    left = math.inf if limit is None else limit
    while left > 0:
        batch = next(batches, None)
        if batch is None:
            return
        if length(batch) > left:
            if not _is_cuttable(batch):
                raise ModelError(f"a batch of {length(batch)} examples cannot be cut to a limit of {limit}")
            batch = _rows(batch, slice(0, int(left)))
        left -= length(batch)
        yield batch


def _is_cuttable(batch: Batch) -> bool:
    positional, keyword = batch
    values = [*positional, *keyword.values()]
    lengths = {len(value) for value in values if isinstance(value, Tensor) and value.ndim}
    return len(lengths) == 1 and all(isinstance(value, (Tensor, *_PLAIN)) for value in values)


def _rows(batch: Batch, rows: Any) -> Batch:
    return _each(batch, lambda tensor: tensor[rows] if tensor.ndim else tensor)


def _finite_rows(batch: Batch) -> Batch | None:
    """The examples that are finite in all tensors; None where there are others and the batch cannot be cut."""
    floats = [tensor for tensor in _tensors(batch) if _is_float(tensor)]
    if all(bool(tensor.isfinite().all()) for tensor in floats):
        return batch
    if not _is_cuttable(batch):
        return None
    finite = [tensor.isfinite().reshape(len(tensor), -1).all(1) for tensor in floats if tensor.ndim]
    return _rows(batch, torch.stack(finite).all(0))


def length(batch: Batch) -> int:
    """Examples, as far as can be told: rows of the first tensor; a batch without tensors counts as one."""
    return next((len(tensor) for tensor in _tensors(batch) if tensor.ndim), 1)


def _moved(batch: Batch, model: nn.Module, reading: Reading) -> Batch:
    """Real floating-point values in the model's precision: files hold doubles where models hold floats."""
    own = (value.dtype for value in (*model.parameters(), *model.buffers()) if value.is_floating_point())
    dtype = getattr(torch, reading.dtype) if reading.dtype else next(own, torch.float32)

    def move(tensor: Tensor) -> Tensor:
        return tensor.detach().to(device=reading.device, dtype=dtype if tensor.is_floating_point() else None)

    return _each(batch, move)


def _is_float(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same with every tensor changed, in tuples, lists and dictionaries too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(inner, change) for key, inner in value.items()}
    if isinstance(value, (tuple, list)):
        inner = [_each(one, change) for one in value]
        return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
    return value
