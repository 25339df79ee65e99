"""Every private name of torch that icshift uses, and what happens with a torch that has it no longer.

What a hook must know (is a graph being written down? would a mode see what I compute?) torch tells by no public name.
Its private ones may go with any release, and must not take a training with them: each is looked up here alone, once,
and stands in `NAMES` with what its absence costs. `tests/model/test_torch_private.py` sees that no other file uses one.

Not private, as we use the word: `_modules`, `_parameters`, `_buffers` and the `_forward…_hooks` of a module, which are
written in every pickle of a module there is, and what `torch.load` calls, which is a format of files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache, reduce
from importlib import import_module
from types import CodeType, FrameType, SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor, fx, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, TensorDataset

from icshift.errors import RecordingError

_SLOWER = "every tensor is taken for one that a mode could see: recording takes longer"
_NOT_WHERE_SEEN = "what runs under a mode or within a function transform is not recorded, which its sites say"
_NOT_IN_TRANSFORMS = "what runs within `vmap` and its like is not recorded, which its sites say"
_WRITTEN_DOWN = "a forward that `make_fx` writes down is recorded as any other"
_PUBLIC_LAYERS = "layers of this kind are known by their public classes: one that is derived beside these is not"
_SMALL_GRAPHS = "hooks between compiled graphs are compiled too, a graph each, and soon no more"

NAMES = {
    "torch._C._len_torch_dispatch_stack": _SLOWER,
    "torch._C._len_torch_function_stack": _SLOWER,
    "torch._C._functorch.peek_interpreter_stack": _SLOWER,
    "torch._C.DisableTorchFunction": "a subclass of Tensor notices that it is looked at",
    "torch._C._DisableFuncTorch": _NOT_WHERE_SEEN,
    "torch.utils._python_dispatch._disable_current_modes": _NOT_WHERE_SEEN,
    "torch._C._functorch.is_functorch_wrapped_tensor": _NOT_IN_TRANSFORMS,
    "torch._C._functorch.is_batchedtensor": _NOT_IN_TRANSFORMS,
    "torch._C._functorch.maybe_get_bdim": _NOT_IN_TRANSFORMS,
    "torch._C._functorch.get_unwrapped": _NOT_IN_TRANSFORMS,
    "torch._C._TorchDispatchModeKey.PROXY": _WRITTEN_DOWN,
    "torch._C._get_dispatch_mode": _WRITTEN_DOWN,
    "torch._C._is_tracing": "its public name is asked, which takes longer",
    "torch._C._dynamo.guards.TensorGuards": "whether a tensor is like the one before takes longer to see",
    "torch._C._current_graph_task_id": "what a checkpoint computes again in the backward pass counts twice",
    "torch._C._dynamo.eval_frame.set_code_exec_strategy": _SMALL_GRAPHS,  # since torch 2.7
    "torch._C._dynamo.eval_frame._FrameAction.SKIP": _SMALL_GRAPHS,
    "torch._C._dynamo.eval_frame._FrameExecStrategy": _SMALL_GRAPHS,
    "torch._compile._disable_dynamo": "the compiler is loaded for every recording, which starts later",
    "torch.fx._symbolic_trace.is_fx_symbolic_tracing": "the next one is asked",  # since torch 2.10
    "torch.fx._symbolic_trace.is_fx_tracing": "a symbolic trace is known by the proxies that it passes to the model",
    "torch.autograd.grad_mode._unsafe_preserve_version_counter": "a forward of the training's that waits for its "
    "backward when a gradient shift is measured cannot have it any more",
    "torch.nn.Module._call_impl": "a model that is recorded from within its own forward is met at its next call",
    "torch.nn.modules.batchnorm._NormBase": _PUBLIC_LAYERS,
    "torch.nn.modules.batchnorm._BatchNorm": _PUBLIC_LAYERS,
    "torch.nn.modules.instancenorm._InstanceNorm": _PUBLIC_LAYERS,
    "torch.nn.modules.conv._ConvNd": _PUBLIC_LAYERS,
    "torch.nn.modules.dropout._DropoutNd": _PUBLIC_LAYERS,
    "torch.nn.modules.pooling._MaxPoolNd": _PUBLIC_LAYERS,
}
"""What the absence of each name costs. Names of objects, and of what is loaded late, are with their functions."""


def _find(path: str, instead: Any = None) -> Any:
    """What torch has under a name of `NAMES`, or `instead`."""
    assert path in NAMES
    try:
        return reduce(getattr, path.split(".")[1:], torch)
    except AttributeError:
        return instead


# Modes, function transforms, subclasses of Tensor

_dispatch_modes = _find("torch._C._len_torch_dispatch_stack", lambda: 1)
_function_modes = _find("torch._C._len_torch_function_stack", lambda: 1)
_transform = _find("torch._C._functorch.peek_interpreter_stack")
_without_transforms = _find("torch._C._DisableFuncTorch")
_without_modes = _find("torch.utils._python_dispatch._disable_current_modes")
_is_wrapped = _find("torch._C._functorch.is_functorch_wrapped_tensor")
_is_mapped = _find("torch._C._functorch.is_batchedtensor")
_mapped_axis = _find("torch._C._functorch.maybe_get_bdim")
_unwrapped = _find("torch._C._functorch.get_unwrapped")

_without_subclasses = _find("torch._C.DisableTorchFunction", nullcontext)


def is_seen() -> bool:
    """Whether what is computed now would be seen by a mode (a profiler, a tracer) or a function transform (`vmap`)."""
    return bool(_dispatch_modes() or _function_modes() or _transform is None or _transform() is not None)


def no_subclass_sees() -> AbstractContextManager[Any]:
    """A block within which no subclass of Tensor notices what is done with it."""
    block: AbstractContextManager[Any] = _without_subclasses()
    return block


@contextmanager
def unseen() -> Iterator[None]:
    """A block within which what is computed is seen by no mode, no function transform and no tensor subclass.

    Raises `RecordingError` where it would be, since this torch has no way to hide it.
    """
    blocks = (_without_subclasses, _without_transforms, _without_modes)
    if None in blocks and is_seen():
        raise RecordingError(f"torch {torch.__version__} has no known way to hide from modes what is computed")
    with ExitStack() as hidden:
        for block in filter(None, blocks):
            hidden.enter_context(block())
        yield


def is_in_transform(tensor: Tensor) -> bool:
    """Whether a tensor is one within `vmap` or its like: of another shape than the one in memory."""
    return bool(_is_wrapped(tensor) if _is_wrapped is not None else _transform is not None and _transform() is not None)


def out_of_transforms(tensor: Tensor) -> tuple[Tensor, int]:
    """The tensor within `vmap` and its like, with the mapped axes first, and how many of these there are.

    Raises `RecordingError` where this torch does not tell.
    """
    if None in (_is_wrapped, _is_mapped, _mapped_axis, _unwrapped):
        raise RecordingError(f"torch {torch.__version__} has no known way to look into a function transform")
    mapped = []
    while _is_wrapped(tensor):
        if _is_mapped(tensor):
            mapped.append(_mapped_axis(tensor))
        tensor = _unwrapped(tensor)
    # Each axis is counted without those of the transforms within, which are moved to the front first.
    for moved, axis in enumerate(reversed(mapped)):
        tensor = tensor.movedim(axis + moved, 0)
    return tensor, len(mapped)


def ragged_axis(tensor: Tensor) -> int | None:
    """The axis on which the sequences of a jagged tensor lie; None where this torch does not tell (`_ragged_idx`)."""
    axis: int | None = getattr(tensor, "_ragged_idx", None)
    return axis


# What writes a model down instead of running it, and what runs a part of it again

_mode_of = _find("torch._C._get_dispatch_mode")
_proxy = _find("torch._C._TorchDispatchModeKey.PROXY")
_symbolic = _find("torch.fx._symbolic_trace.is_fx_symbolic_tracing", _find("torch.fx._symbolic_trace.is_fx_tracing"))
_backward = _find("torch._C._current_graph_task_id", lambda: -1)
_traced = _find("torch._C._is_tracing", torch.jit.is_tracing)  # type: ignore[attr-defined]  # exported, and documented


def is_written_down() -> bool:
    """Whether `torch.jit.trace`, or `make_fx` and its like, runs a model only to write down what it does."""
    return bool(_traced() or (None not in (_mode_of, _proxy) and _mode_of(_proxy) is not None))


def is_symbolic(*arguments: Any) -> bool:
    """Whether `torch.fx.symbolic_trace` calls the model: with `arguments` that are no tensors."""
    if _symbolic is not None:
        return bool(_symbolic())
    found: list[Any] = []
    fx.node.map_aggregate(arguments, found.append)
    return any(isinstance(argument, fx.Proxy) for argument in found)


def in_backward() -> bool:
    """Whether this thread is in a backward pass, in which a checkpoint computes what it did not keep."""
    return bool(_backward() != -1)


_same_version = _find("torch.autograd.grad_mode._unsafe_preserve_version_counter", lambda _: nullcontext())
_call = getattr(_find("torch.nn.Module._call_impl"), "__code__", None)
_apply = getattr(getattr(torch.autograd.Function.apply, "__func__", None), "__code__", None)


def is_ordinary() -> bool:
    """Whether this thread runs a model as is usual: no mode or transform sees it, nothing writes it down, and it is no
    backward pass."""
    return not (
        _backward() != -1
        or _dispatch_modes()
        or _function_modes()
        or _transform is None
        or _transform() is not None
        or _traced()
    )


def signs_of_the_ordinary(*, alike: bool) -> tuple[Any, ...]:
    """What `is_ordinary` asks, and what each returns. No dispatch mode, transform or trace sees one that is `like`."""
    signs = (_backward, -1, _function_modes, 0)
    return signs if alike else (*signs, _dispatch_modes, 0, _transform or object, None, _traced, False)


@cache
def _tells_likeness() -> bool:
    own = torch.zeros(2, 3, device="cpu", dtype=torch.float32)
    others = own.T, own[:1], own[:, :2], own.T.contiguous(), own.double(), own.to("meta"), own.detach().requires_grad_()
    try:
        return _likeness(own)(own.clone()) is True and not any(_likeness(own)(other) for other in others)
    except (TypeError, ValueError, SystemError):
        return False


def _likeness(tensor: Tensor) -> Any:
    sizes, strides = [list(tensor.shape)], [list(tensor.stride())]
    guards = _find("torch._C._dynamo.guards.TensorGuards")
    return guards(tensor, dynamic_dims_sizes=sizes, dynamic_dims_strides=strides).check


def like(tensor: Tensor) -> Callable[[Tensor], bool] | None:
    """Returns what tells whether another tensor is of the class, type, device, shape and strides of this one, and is
    seen by the same modes and transforms; None where this torch has no function of its own for that."""
    return _likeness(tensor) if _tells_likeness() else None


def written_unnoticed(parameter: nn.Parameter) -> AbstractContextManager[Any]:
    """A block within which writing to a parameter does not end the backward passes that wait for it."""
    block: AbstractContextManager[Any] = _same_version(parameter)
    return block


def being_called() -> Iterator[Any]:
    """Yields the modules that this thread is in calls of, innermost first."""
    return (frame.f_locals.get("self") for frame in _frames(_call))


def given_to_functions() -> Iterator[Any]:
    """Yields the arguments of each `torch.autograd.Function` that this thread is in the `apply` of.

    Where `apply` is no longer Python there are none, and reentrant checkpoints, whose forwards run without gradients,
    count as what is not trained on.
    """
    return (argument for frame in _frames(_apply) for argument in frame.f_locals.get("args", ()))


def _frames(code: CodeType | None) -> Iterator[FrameType]:
    """Yields the frames of this thread that run this code, innermost first."""
    frame: FrameType | None = sys._getframe() if code is not None else None
    while frame is not None:
        if frame.f_code is code:
            yield frame
        frame = frame.f_back


def times_written(tensor: Tensor) -> int:
    """How often a tensor was written to in place; 0 always where that is not counted, as in inference mode.

    Where torch counts it no longer, a gradient that is added to is not told from one that stayed.
    """
    return 0 if tensor.is_inference() else getattr(tensor, "_version", 0)


# The compiler

_strategies = _find("torch._C._dynamo.eval_frame.set_code_exec_strategy")
_strategy = _find("torch._C._dynamo.eval_frame._FrameExecStrategy")
_skip = _find("torch._C._dynamo.eval_frame._FrameAction.SKIP")

_disabled = _find("torch._compile._disable_dynamo", torch.compiler.disable)


def not_compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Returns a function that does the same, may be called from what is compiled, and is never compiled itself."""
    wrapped: Callable[..., None] = _disabled(function)
    return wrapped


def is_exported() -> bool:
    """Whether `torch.export` runs the model: its program must hold nothing of ours.

    The compiler calls this function as it traces a hook. Traced, `is_exporting` would be true of every compiled model
    until torch 2.12; called, it is false of a strict export in 2.7, which the translator knows (`current_tx`). With a
    torch that has no such translator a strict export of a model that is recorded holds our operators.
    """
    compiler: Any = sys.modules.get("torch._dynamo.symbolic_convert")
    try:
        return bool(torch.compiler.is_exporting() or compiler.InstructionTranslator.current_tx().export)
    except AttributeError:
        return torch.compiler.is_exporting()


# What `torch.compiler.assume_constant_result` does, which would load the compiler. Without it this function is traced.
is_exported._dynamo_marked_constant = True  # type: ignore[attr-defined]


def leave_as_written(code: CodeType) -> None:
    """Have the compiler make no graph of this code, nor of what it calls, where it is called between graphs."""
    if None not in (_strategies, _strategy, _skip):
        _strategies(code, _strategy(_skip, _skip))


def compiler_loaded() -> bool:
    """Whether anything of this process has loaded the compiler (`torch._dynamo`), which takes a second."""
    return "torch._dynamo" in sys.modules


def compiled_before() -> bool:
    """Whether `torch.compile` has compiled anything in this process: its graphs do not call hooks that come later.

    Where the compiler does not count its frames (`FRAME_COUNTER`), it has once it is loaded.
    """
    dynamo = sys.modules.get("torch._dynamo.convert_frame", SimpleNamespace(FRAME_COUNTER=0))
    return getattr(dynamo, "FRAME_COUNTER", 1) > 0


def compiler_settings() -> Any:
    """What holds the compiler's setting `skip_nnmodule_hook_guards`; where there is none, an object that nobody reads.

    Without it a model may run on a graph that was made without hooks, and is not recorded where it does.
    """
    try:
        settings: Any = import_module("torch._dynamo.config")
    except ImportError:
        settings = None
    absent = SimpleNamespace(skip_nnmodule_hook_guards=True)
    return settings if hasattr(settings, "skip_nnmodule_hook_guards") else absent


# Kinds of layers


def _either(path: str, *public: type[nn.Module]) -> Any:
    """The class that layers of a kind are derived from, or its public subclasses: for `isinstance`."""
    return _find(path, public)


_lazy_batch = (nn.LazyBatchNorm1d, nn.LazyBatchNorm2d, nn.LazyBatchNorm3d)
_batch = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, *_lazy_batch)
_lazy_instance = (nn.LazyInstanceNorm1d, nn.LazyInstanceNorm2d, nn.LazyInstanceNorm3d)
_instance = (nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d, *_lazy_instance)
_plain_convolutions = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)

AVERAGING: Any = _either("torch.nn.modules.batchnorm._NormBase", *_batch, *_instance)
"""Batch and instance normalisation, which may keep running averages."""
if TYPE_CHECKING:
    from torch.nn.modules.batchnorm import _BatchNorm

    BATCH_NORM: TypeAlias = _BatchNorm
else:
    BATCH_NORM = _either("torch.nn.modules.batchnorm._BatchNorm", *_batch)
INSTANCE_NORM: Any = _either("torch.nn.modules.instancenorm._InstanceNorm", *_instance)
CONVOLUTION: Any = _either("torch.nn.modules.conv._ConvNd", *_plain_convolutions, *_transposed)
DROPOUT: Any = _either(
    "torch.nn.modules.dropout._DropoutNd",
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout),
)
MAX_POOLING: Any = _either("torch.nn.modules.pooling._MaxPoolNd", nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)


# Optimizers, loaders, modules


def takes_step_hooks(optimizer: Optimizer) -> bool:
    """Whether an optimizer has hooks of its own; a wrapper that is one by type alone has not.

    Where torch keeps them under another name nothing has, and the innermost is taken for what a wrapper wraps.
    """
    return "_optimizer_step_post_hooks" in vars(optimizer)


def hooks_of_loading(module: nn.Module) -> Collection[Any]:
    """The hooks that a module runs before it loads a state dict; none where torch keeps them under another name."""
    return getattr(module, "_load_state_dict_pre_hooks", ())


class _NoIterator:
    """What no loader gives."""

    def __next__(self) -> Any:
        raise StopIteration


def loader_iterator() -> type[Any]:
    """The class of torch whose `__next__` draws the batches of every DataLoader.

    Its private name is not asked for: an iterator of a loader of our own has it among its classes. A generator of its
    own keeps the loader from drawing a random number. Where torch has no such class, passes over data have no end.
    """
    iterator = iter(DataLoader(TensorDataset(torch.zeros(1)), generator=torch.Generator()))
    own = (kind for kind in type(iterator).__mro__ if "__next__" in vars(kind) and kind.__module__.startswith("torch"))
    return next(own, _NoIterator)


def is_replica(module: nn.Module) -> bool:
    """Whether DataParallel made this shallow copy of a module; where it marks none, they are not recorded."""
    return bool(getattr(module, "_is_replica", False))


def hooks_for_all_modules() -> bool:
    """Whether there are hooks that every module calls. Where torch does not tell, there may be."""
    tell = getattr(torch.nn.modules.module, "_has_any_global_hook", None)
    return tell is None or bool(tell())
