"""Directories of Hugging Face: a model built from `config.json` and weights, by classes of `transformers` alone.

Weights are read as any others are; of `transformers` come the class and the rules by which names of weights changed
over the years. Code that the directory brings along (`auto_map`) is never run, and while the class is built the network
and other processes are out of reach: some configurations name a backbone or a kernel that would be fetched.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache, reduce
from pathlib import Path
from threading import local
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as registration
from torch.nn.parameter import is_lazy

from icshift.errors import ModelError
from icshift.saved.faults import first_few, summary_of
from icshift.saved.formats.detect import WEIGHTS
from icshift.saved.formats.shards import document

_LONGEST_CONFIG = 10_000_000
_COUNTED = ("layer", "block", "stage", "depth", "expert", "head", "label")
_MOST_COUNTED = 100_000
_MOST = 1 << 27
"""Whole numbers in a configuration: of what is counted, each a module or a name, and any other, each a length."""


def weights_file(directory: Path) -> Path:
    """The file or index of the weights in a directory; safetensors before pickles.

    Raises `ModelError` where there is none, or the directory holds an adapter.
    """
    if (directory / "adapter_config.json").is_file():
        raise ModelError(
            "holds an adapter (PEFT), not a whole model: merge it with model.merge_and_unload() and save that"
        )
    for name in WEIGHTS:
        if (directory / name).is_file():
            return directory / name
    raise ModelError(f"holds no weights: expected one of {', '.join(WEIGHTS)}")


def progress(directory: Path) -> dict[str, Any]:
    """What a Trainer wrote about epoch and step; nothing where no Trainer saved the directory."""
    state = directory / "trainer_state.json"
    return document(state, 1 << 28) if state.is_file() else {}


def build(directory: Path, state: dict[str, Tensor], *, partial: bool) -> nn.Module:
    """The model that `config.json` describes, with the weights in it. Raises `ModelError` where they do not fit it."""
    config = document(directory / "config.json", _LONGEST_CONFIG)
    _refuse(config)
    try:
        import transformers
    except ModuleNotFoundError as missing:
        raise ModelError(f"needs {missing.name}: pip install 'icshift[transformers]', or give --model") from missing
    settings, kind = _classes(transformers, config)
    try:
        with _sealed():
            configuration = settings.from_dict(config)
        built, misfits = _filled(transformers, kind, configuration, state, "auto")
    except (ModelError, MemoryError):
        raise
    except Exception as error:
        raise ModelError(f"gives no model by its config.json ({summary_of(error)}); give --model instead") from error
    _refuse_misfits(misfits, partial=partial)
    return built


def renamed(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """A state dict under the names that this model of `transformers` has today; None for a model of another package.

    Files keep the names that were current when they were written; the classes of `transformers` change them as they
    load. Tensors of another shape become placeholders without data, unknown ones keep their names.
    """
    transformers: Any = sys.modules.get("transformers")
    if not type(model).__module__.startswith("transformers.") or not isinstance(model, transformers.PreTrainedModel):
        return None
    exact = reduce(torch.promote_types, (tensor.dtype for tensor in state.values() if tensor.is_floating_point()))
    built, misfits = _filled(transformers, type(model), model.config, state, exact)
    misshapen = {entry[0]: torch.empty(entry[1], device="meta") for entry in misfits["mismatched_keys"]}
    loaded = {name: tensor for name, tensor in built.state_dict().items() if name not in misfits["missing_keys"]}
    return loaded | misshapen | {name: state[name] for name in misfits["unexpected_keys"] if name in state}


def _filled(transformers: Any, kind: Any, configuration: Any, state: Mapping[str, Tensor], dtype: Any) -> Any:
    """A model with weights in it, and what was missing, unexpected and of another shape."""
    with _sealed(), _bounded(state), _quiet(transformers):
        return kind.from_pretrained(
            None,
            config=configuration,
            # Copies: it keeps what it is given, and that may be mapped from the file.
            state_dict={name: tensor.clone() for name, tensor in state.items()},
            torch_dtype=dtype,
            output_loading_info=True,
            local_files_only=True,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,
        )


def _refuse(config: dict[str, Any]) -> None:
    """Raises `ModelError` for a configuration that brings code, fetches something, or asks for absurd sizes."""
    waiting: list[tuple[str, Any]] = [("", config)]
    while waiting:
        name, value = waiting.pop()
        if name in ("auto_map", "trust_remote_code") and value:
            raise ModelError(
                f"brings code of its own ({name} in config.json), which icshift never runs: install the model's package"
                " and give its class with --model"
            )
        if name == "quantization_config" and value:
            raise ModelError("holds quantised weights (quantization_config in config.json); save the model dequantised")
        if name.endswith("attn_implementation") and "/" in str(value):
            raise ModelError(f"names a kernel to fetch ({name} in config.json): icshift fetches nothing; remove it")
        most = _MOST_COUNTED if any(word in name for word in _COUNTED) else _MOST
        if isinstance(value, int) and abs(value) > most:
            raise ModelError(f"has {name} {value} in config.json: damaged, or made to deceive")
        if isinstance(value, (dict, list)) and name not in ("id2label", "label2id"):
            pairs = value.items() if isinstance(value, dict) else [(name, inner) for inner in value]
            waiting += [(str(inner_name), inner) for inner_name, inner in pairs]


def _classes(transformers: Any, config: dict[str, Any]) -> tuple[Any, Any]:
    """The classes of the configuration and of the model, loaded from `transformers` and from nowhere else."""
    kind = config.get("model_type")
    if kind not in (known := transformers.CONFIG_MAPPING):
        raise ModelError(f"has model_type {kind!r} in config.json, which transformers {transformers.__version__} lacks")
    settings = known[kind]
    for name in config.get("architectures") or ():
        named: Any = getattr(transformers, str(name), None)
        if isinstance(named, type) and issubclass(named, transformers.PreTrainedModel):
            if getattr(named, "config_class", None) is settings:
                return settings, named
            raise ModelError(f"names {name} for a {kind} in config.json: the two do not belong together")
    if config.get("architectures"):
        raise ModelError(f"names {config['architectures']} in config.json, which transformers lacks; give --model")
    mapping = transformers.MODEL_MAPPING
    if settings not in mapping:
        raise ModelError(f"names no architecture in config.json, and transformers has no one model for {kind}")
    mapped = mapping[settings]
    return settings, mapped[0] if isinstance(mapped, (tuple, list)) else mapped


def _refuse_misfits(misfits: dict[str, Any], *, partial: bool) -> None:
    missing, unexpected = sorted(misfits["missing_keys"]), sorted(misfits["unexpected_keys"])
    mismatched = sorted(str(entry[0]) for entry in misfits["mismatched_keys"])
    facts = [
        f"{len(names)} {what} ({first_few(names)})"
        for names, what in ((missing, "missing"), (unexpected, "unexpected"), (mismatched, "of another shape"))
        if names
    ]
    if facts and not partial:
        raise ModelError(f"has weights that do not fit its config.json: {', '.join(facts)}; --partial loads what fits")


_NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "urllib.Request")
_PROCESSES = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn")
"""Audit events, which Python raises before it acts (https://docs.python.org/3/library/audit_events.html)."""

_sealing = local()


@contextmanager
def _sealed() -> Iterator[None]:
    """A block within which this thread gets no network and no other process: asking raises `ModelError`."""
    _add_audit_hook()
    _sealing.on = True
    try:
        yield
    finally:
        _sealing.on = False


@cache
def _add_audit_hook() -> None:
    """Adds the hook that refuses, once a process: Python cannot remove it, so it looks whether its thread is sealed."""

    def refuse(event: str, _: tuple[Any, ...]) -> None:
        if event in (*_NETWORK, *_PROCESSES) and getattr(_sealing, "on", False):
            raise ModelError(f"asks for the network or another process while it is built ({event}): it gets neither")

    sys.addaudithook(refuse)


@contextmanager
def _bounded(state: Mapping[str, Tensor]) -> Iterator[None]:
    """A block within which no model far larger than its weights is built; raises `ModelError` for one.

    A configuration may ask for a billion layers, or for one of terabytes. Parameters are counted when they are
    registered, before anything is written into their memory.
    """
    left = {"parts": 1000 + 20 * len(state), "numbers": 10_000_000 + 4 * sum(map(Tensor.numel, state.values()))}

    def part(*_: Any) -> None:
        take("parts", 1)

    def parameter(_: nn.Module, __: str, tensor: Tensor | None) -> None:
        take("numbers", 0 if tensor is None or is_lazy(tensor) else tensor.numel())

    def take(what: str, count: int) -> None:
        left[what] -= count
        if left[what] < 0:
            raise ModelError(f"describes a model in config.json that has far more {what} than there are weights")

    hooks = [
        registration.register_module_module_registration_hook(part),
        registration.register_module_parameter_registration_hook(parameter),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """A block within which `transformers` shows no progress bar and prints no report: icshift says it in one line."""
    logging = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
