"""What reads a site's output within a forward, functional calls included: read from the graph that autograd built.

The graph exists already where gradients are computed, so that looking at it after the forward changes nothing in it,
whichever thread, mode or wrapper it ran in. (Modes that intercept calls, as `TorchFunctionMode`, see as much, but they
change what is compiled and which kernels run.) Of what is compiled, checkpointed in the old way, or computed without
gradients, there is no graph to read: that is said, and nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from icshift.model.names import parameters
from icshift.model.torch_private import no_subclass_sees

Place: TypeAlias = "tuple[Any, int]"
"""A tensor in the graph: the node that made it, and which of the node's results it is."""

_ACTIVATIONS = {
    "Relu": "ReLU",
    "Sigmoid": "Sigmoid",
    "Tanh": "Tanh",
    "Hardsigmoid": "Hardsigmoid",
    "Hardswish": "Hardswish",
    "LeakyRelu": "LeakyReLU",
    "PreluKernel": "PReLU",
    "RreluWithNoise": "RReLU",
    "Elu": "ELU",
    "Celu": "CELU",
    "Gelu": "GELU",
    "Silu": "SiLU",
    "Mish": "Mish",
    "Softplus": "Softplus",
    "LogSigmoid": "LogSigmoid",
}
"""Names of nodes, and the module classes that compute the same."""

_BOUNDS = {"Hardtanh": ("_saved_min_val", "_saved_max_val"), "Clamp": ("_saved_min", "_saved_max")}
_LOWER_BOUND = {"ClampMin": "_saved_min", "Threshold": "_saved_threshold"}

_PASS_ON = frozenset(
    (
        *("View", "UnsafeView", "ReshapeAlias", "Alias", "T", "Transpose", "Permute", "Squeeze", "Unsqueeze", "Expand"),
        *("Clone", "ToCopy", "Cat", "Stack", "NativeDropout"),
        *("MaxPool2DWithIndices", "MaxPool3DWithIndices", "AdaptiveMaxPool2D", "AdaptiveMaxPool3D"),
    )
)
"""Nodes that hand every value on as it is, or (pooling, dropout) the values that decide whether a unit is dead."""

_PASS_ON_IN_PYTHON = frozenset(
    ("BackwardHookFunctionBackward", "_DDPSinkBackward", "GatherBackward", "RegisterPostBackwardFunctionBackward")
)
"""Nodes of PyTorch's own around modules: full backward hooks, DistributedDataParallel, DataParallel, FSDP."""

_PART_OF = frozenset(
    ("Split", "SplitWithSizes", "Slice", "Select", "Unbind", "Index", "IndexSelect", "Gather", "Mul", "Div", "Neg")
)
"""Nodes that hand on some of the values, or multiples of them: what reads these does not read the site's output."""

_UNDECIDED = frozenset(("Maximum", "Minimum", "Where", "MaskedFill", "Clamp", "ClampMin", "ClampMax"))
"""Nodes that may be a rectifier or not, as their other argument says: a tensor, whose values are not looked at."""

_PART_OF_RECTIFIERS = frozenset(
    ("mul", "div", "pow", "abs", "sign", "index_put", "masked_scatter", "fmax", "fmin", "amax", "amin", "max", "min")
)
"""Operations that gates, norms and much else are made of, and rectifiers that are written by hand, as x * (x > 0)."""

_SILENCE = frozenset(("ReLU", "ReLU6", "Sigmoid", "Tanh", "Hardsigmoid", "Hardtanh"))
"""Activation functions that may let nothing through: one that reads a part of an output leaves open which units."""

_BUILT_IN = re.compile(r"(\w+?)Backward\d+")


@dataclass(frozen=True)
class Readers:
    """What reads an output: classes of activation functions, names of other operations, and what could not be seen.

    `unseen` says in words why there may be more; it is empty where there is no more.
    """

    activations: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    unseen: str = ""


class Graph:
    """The part of a graph that the results of a forward were computed by; made at once after the forward."""

    def __init__(self, results: Iterable[Tensor]) -> None:
        self._results = {place for result in results if (place := place_of(result)) is not None}
        self._readers: dict[Any, list[tuple[int, Any]]] = {}
        """By node: which of its results is read, by which node."""
        waiting = [node for node, _ in self._results]
        met = set(waiting)
        while waiting:
            node = waiting.pop()
            for read, number in node.next_functions:
                if read is None:
                    continue
                self._readers.setdefault(read, []).append((number, node))
                if read not in met:
                    met.add(read)
                    waiting.append(read)

    def readers(self, places: Iterable[Place]) -> Readers:
        """Returns what reads an output, which is at these places: that of its own, and that of its dropout."""
        of_itself = set(places)
        nodes = {node for node, _ in of_itself}
        direct = [reader for place in of_itself for reader in self._reading(place)]
        if not direct and of_itself.isdisjoint(self._results):
            return Readers(unseen="nothing that its forward returned was computed from it")
        activations: dict[str, None] = {}
        others: dict[str, None] = {}
        parts: dict[str, None] = {}
        open_parts: dict[str, None] = {}
        unseen = ""
        for node, name, part in self._without_what_passes_on([node for node in direct if node not in nodes]):
            activation = _activation(name, node)
            if part:
                parts[part] = None
                open_parts.update({activation: None} if activation in _SILENCE else {})
            elif activation is not None:
                activations[activation] = None
            elif name is None or name in _UNDECIDED:
                unseen = f"{_in_words(name) if name else node.name()} reads it, and what that does is not known"
            else:
                others[_in_words(name)] = None
        if parts and (activations or not open_parts):
            others |= parts
        elif open_parts:
            unseen = f"{' and '.join(open_parts)} read{'s' * (len(open_parts) == 1)} a part or a multiple of it"
        by_hand = [name for name in others if name in _PART_OF_RECTIFIERS]
        if by_hand and not unseen:
            unseen = f"{by_hand[0]} reads it, and may be part of a rectifier"
        return Readers(tuple(activations), tuple(others), unseen)

    def _reading(self, place: Place) -> list[Any]:
        return [reader for number, reader in self._readers.get(place[0], ()) if number == place[1]]

    def _without_what_passes_on(self, nodes: list[Any]) -> Iterator[tuple[Any, str | None, str]]:
        """Yields these nodes or, for those that hand values on, the nodes that read their results.

        With each comes its name, None for one that is not PyTorch's own, and the name of the operation that took a part
        or a multiple on the way, "" where there was none. A part that nothing reads comes itself.
        """
        waiting = [(node, "") for node in nodes]
        met = set(waiting)
        while waiting:
            node, part = waiting.pop(0)
            built_in = _BUILT_IN.fullmatch(node.name())
            name = built_in[1] if built_in else None
            alone = sum(read is not None for read, _ in node.next_functions) == 1
            took = _in_words(name) if name in _PART_OF and alone else ""
            if not took and name not in _PASS_ON and node.name() not in _PASS_ON_IN_PYTHON:
                yield node, name, part
                continue
            read_by = [reader for _, reader in self._readers.get(node, ())]
            if took and not read_by:
                yield node, name, part or took
            new = {(reader, part or took) for reader in read_by} - met
            met |= new
            waiting += new


@contextmanager
def graph_alone(model: nn.Module) -> Iterator[None]:
    """A block whose forwards build the graph and keep nothing in it: they take no more memory than without gradients.

    Frozen parameters have gradients within. No gradient can be computed of what it builds.
    """
    frozen = [p for p in parameters(model) if not p.requires_grad and p.is_floating_point()]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(lambda _: None, lambda kept: kept):
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def place_of(tensor: Tensor) -> Place | None:
    """Returns where a tensor is in the graph, or None where no gradients are computed."""
    # Neither a subclass of Tensor nor a mode must notice that it is looked at.
    with no_subclass_sees():
        return None if tensor.grad_fn is None else (tensor.grad_fn, tensor.output_nr)


def _activation(name: str | None, node: Any) -> str | None:
    """Returns the module class of the activation function that a node computes, or None if it is none."""
    if name == "LeakyRelu" and _number(node, "_saved_negative_slope") == 0:
        return "ReLU"
    if name in _ACTIVATIONS:
        return _ACTIVATIONS[name]
    if name in _LOWER_BOUND:
        return "ReLU" if _number(node, _LOWER_BOUND[name]) == 0 else None
    if name in _BOUNDS:
        low, high = (_number(node, bound) for bound in _BOUNDS[name])
        if low == 0:
            return "ReLU" if high is None else "ReLU6"
        return "Hardtanh" if (low, high) == (-1, 1) else None
    return None


def _number(node: Any, attribute: str) -> float | None:
    """Returns a number that a node keeps; None where it keeps none, or a tensor: to unpack one may compute it anew."""
    if hasattr(node, f"_raw{attribute}"):
        return None
    value: float | None = getattr(node, attribute, None)
    return value


def _in_words(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
