"""Layers of Keras 3 on PyTorch: modules that keep their parts, weights and mode where torch does not look for them.

A layer's parts are a list of its own beside those that torch knows, its weights are `keras.Variable`s that hold an
`nn.Parameter`, state (moving averages, seeds) is parameters without gradients, and whether it trains is an argument of
the call. Nothing here imports Keras: where no layer exists, its modules are not there. Where a private name of Keras
is no longer there, it is as if it held nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

_LAYER = "keras.src.backend.torch.layer", "TorchLayer"
_SHAPE = "keras.src.backend.common.keras_tensor", "KerasTensor"
_SYMBOLIC = "keras.src.backend.common.symbolic_scope", "in_symbolic_scope"
_ORDER = "keras.src.backend.config", "image_data_format"

_NORMALISATIONS = (
    *("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization"),
)
_CALLS_NO_PARTS = ("RNN", "TimeDistributed")
"""Layers that compute with their part once a time step, or without calling it: they are sites, not it."""

_FIRST_ALONE = ("RNN", "MultiHeadAttention", "GroupedQueryAttention")
_NO_PARTS = ("_torch_params", "_functional")
"""Modules in which a layer keeps its variables, and the graph of its layers, once more."""


def is_layer(module: object) -> bool:
    """Whether a module is a layer of Keras."""
    layer = _known(*_LAYER)
    return layer is not None and issubclass(type(module), layer)


def normalises(module: object) -> bool:
    """Whether a layer normalises what it is given (not its weights, as spectral normalisation)."""
    return _is_any_of(module, _NORMALISATIONS)


def normalises_by_the_batch(module: object) -> bool:
    """Whether a layer normalises by the batch in training, and by moving averages else."""
    return _is_any_of(module, ("BatchNormalization",))


def is_whole(module: object) -> bool:
    """Whether a layer is a site in place of its parts, see `_CALLS_NO_PARTS`."""
    return _is_any_of(module, _CALLS_NO_PARTS)


def gives_first_alone(module: object) -> bool:
    """Whether of a tuple that a layer returns only the first counts: the others are states, or scores of attention."""
    return _is_any_of(module, _FIRST_ALONE)


def parts(layer: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yields the parts of a layer by the names that Keras gives them, as in `summary()`, then modules of torch.

    A name that came before gets a number. Inputs are no parts: they are never called.
    """
    taken: set[str] = set()
    met: set[nn.Module] = set()
    held = [(str(getattr(part, "name", "")), part) for part in _listed(layer, "_layers") if is_layer(part)]
    named = [(name, part) for name, part in layer._modules.items() if part is not None and name not in _NO_PARTS]
    for name, part in [*held, *named]:
        if part not in met and not _is_any_of(part, ("InputLayer",)):
            met.add(part)
            yield _unused(name, taken), part


def weights(layer: nn.Module) -> dict[str, nn.Parameter]:
    """The weights of a layer that are in none of its parts, frozen ones too, by name; none before it is built."""
    taken: set[str] = set()
    variables = ((str(getattr(v, "name", "")), vars(v).get("_value")) for v in _listed(layer, "_trainable_variables"))
    return {_unused(name, taken): value for name, value in variables if isinstance(value, nn.Parameter)}


def state(layer: nn.Module) -> list[Tensor]:
    """What a layer changes in a forward and no optimizer does: moving averages, the state of its random generators."""
    seeds = [getattr(seed, "state", None) for seed in _listed(layer, "_seed_generators")]
    variables = [*_listed(layer, "_non_trainable_variables"), *seeds]
    values = (vars(variable).get("_value") for variable in variables if hasattr(variable, "__dict__"))
    return [value for value in values if isinstance(value, Tensor)]


def waits_for_inputs(module: nn.Module) -> bool:
    """Whether a module is a layer that gets its weights, or its parts theirs, when it sees its first inputs."""
    return is_layer(module) and not getattr(module, "built", True)


def has_optimizer(layer: nn.Module) -> bool:
    """Whether a layer is a model that was compiled with an optimizer."""
    return vars(layer).get("optimizer") is not None


def told_training(inputs: tuple[Any, Mapping[str, Any]] | None) -> bool | None:
    """What a call of a layer says of training, None where it does not: then Keras computes as in inference."""
    told = None if inputs is None else inputs[1].get("training")
    return None if told is None else bool(told)


def telling(module: nn.Module) -> dict[str, bool]:
    """The argument that tells a layer of the mode that it is in as a module; none for what does not take it."""
    return {"training": module.training} if is_layer(module) and vars(module).get("_call_has_training_arg") else {}


def unit_axis(layer: nn.Module, ndim: int) -> int:
    """The axis of a layer's output that runs over units: the one that it normalises, that of the channels, the last."""
    axis = getattr(layer, "axis", None) if normalises(layer) else None
    if isinstance(axis, (list, tuple)) and len(axis) == 1:
        axis = axis[0]
    if isinstance(axis, int) and -ndim <= axis < ndim:
        return axis % ndim
    order = getattr(layer, "data_format", None)
    if order is None and ndim >= 4:
        order = _known(*_ORDER)()
    return 1 if order == "channels_first" and ndim >= 3 else ndim - 1


def sends_shapes(module: nn.Module, seen: tuple[Any, ...]) -> bool:
    """Whether Keras calls a module only to learn the shapes of what it returns, with `seen` as its arguments."""
    symbolic, stand_in = _known(*_SYMBOLIC), _known(*_SHAPE)
    if symbolic is None:
        return False
    return bool(symbolic()) or (stand_in is not None and is_layer(module) and _holds(seen, stand_in))


def _known(module: str, name: str) -> Any:
    return getattr(sys.modules.get(module), name, None)


def _is_any_of(module: object, names: tuple[str, ...]) -> bool:
    return is_layer(module) and any(
        kind.__name__ in names and kind.__module__.split(".")[0] == "keras" for kind in type(module).__mro__
    )


def _listed(layer: nn.Module, name: str) -> list[Any]:
    held = vars(layer).get(name)
    return list(held) if isinstance(held, list) else []


def _unused(name: str, taken: set[str]) -> str:
    number, numbered = 1, name
    while numbered in taken:
        number += 1
        numbered = f"{name}-{number}"
    taken.add(numbered)
    return numbered


def _holds(value: Any, kind: type) -> bool:
    if isinstance(value, Mapping):
        value = list(value.values())
    return any(_holds(part, kind) for part in value) if isinstance(value, (list, tuple)) else isinstance(value, kind)
