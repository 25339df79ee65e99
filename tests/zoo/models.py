"""Small awkward models: everything that forward hooks are known to trip over.

Each specimen has a name; `build()` gives a model (drawn from torch's global generator) and `make_batch(rng)`, which
gives the positional and keyword arguments of one forward; `loss(output)` is a number to train on. Some are not simply
called, but as `call` does it; some change while they are trained, in `alter`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.func import functional_call, grad, vmap
from torch.nn.utils import parametrizations, parametrize
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from tests.zoo import modules

Batch = tuple[tuple[Any, ...], dict[str, Any]]
MakeBatch = Callable[[np.random.Generator], Batch]
Build = Callable[[], tuple[nn.Module, MakeBatch]]


Alter = Callable[[nn.Module, Optimizer, int], None]


def as_a_whole(model: nn.Module, *args: Any, **kwargs: Any) -> Any:
    return model(*args, **kwargs)


def leave(_: nn.Module, __: Optimizer, ___: int) -> None:
    pass


class Specimen(NamedTuple):
    name: str
    build: Build
    loss: Callable[[Any], Tensor]
    call: Callable[..., Any] = as_a_whole
    alter: Alter = leave
    """Called after every step with the model, the optimizer and the step's number."""


ZOO: list[Specimen] = []
"""Models that are called as a whole."""

CALLED_OTHERWISE: list[Specimen] = []


def specimen(
    output: Callable[[Any], Tensor], call: Callable[..., Any] = as_a_whole, alter: Alter = leave
) -> Callable[[Build], Build]:
    """Add a model to the zoo; `output` takes the tensor to train on out of what the model gives."""

    def loss(found: Any) -> Tensor:
        return (output(found).float() - 0.3).square().sum() / 20

    def add(build: Build) -> Build:
        one = Specimen(build.__name__, build, loss, call, alter)
        (ZOO if call is as_a_whole else CALLED_OTHERWISE).append(one)
        return build

    return add


plain = specimen(lambda output: output)
first = specimen(lambda output: output[0])


def called(call: Callable[..., Any]) -> Callable[[Build], Build]:
    return specimen(lambda output: output, call=call)


def altered(alter: Alter) -> Callable[[Build], Build]:
    return specimen(lambda output: output, alter=alter)


def specimens(*names: str) -> list[Specimen]:
    found = [one for one in [*ZOO, *CALLED_OTHERWISE] if one.name in names]
    assert len(found) == len(names), f"unknown among {names}"
    return found


def normal(*shape: int, dtype: torch.dtype = torch.float32) -> MakeBatch:
    return lambda rng: ((torch.from_numpy(rng.standard_normal(shape)).to(dtype),), {})


def tokens(*shape: int) -> MakeBatch:
    return lambda rng: ((torch.from_numpy(rng.integers(0, 11, shape)),), {})


@plain
def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3)), normal(12, 6)


@plain
def sigmoid_mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.Sigmoid(), nn.Linear(8, 3), nn.Sigmoid()), normal(12, 6)


@plain
def bn_mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@plain
def conv1d():
    layers = nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4), nn.ReLU(), nn.ConvTranspose1d(4, 2, 3)
    return nn.Sequential(*layers), normal(6, 3, 10)


@plain
def conv2d():
    layers = nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 2)), normal(5, 3, 8, 8)


@plain
def conv3d():
    return nn.Sequential(nn.Conv3d(2, 3, 2), nn.InstanceNorm3d(3, affine=True), nn.ReLU()), normal(4, 2, 4, 4, 4)


@plain
def channels_last():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3))
    make = normal(5, 3, 8, 8)
    return model.to(memory_format=torch.channels_last), lambda rng: (
        (make(rng)[0][0].contiguous(memory_format=torch.channels_last),),
        {},
    )


@plain
def residual():
    return modules.Residual(), normal(12, 6)


@plain
def relu_twice():
    return modules.TwiceUsed(), normal(12, 6)


@plain
def shared_linear():
    return modules.Shared(), normal(12, 6)


@plain
def inplace_relu():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 2, 3)), normal(5, 3, 8, 8)


@plain
def inplace_on_its_input():
    return nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 4)), normal(12, 6)


@first
def lstm():
    return nn.LSTM(4, 5, num_layers=2, batch_first=True, dropout=0.3), normal(6, 7, 4)


@first
def gru():
    return nn.GRU(4, 5, bidirectional=True), normal(7, 6, 4)


@specimen(lambda output: output.data)
def packed_sequence():
    make = normal(5, 7, 4)
    return modules.Packed(), lambda rng: ((make(rng)[0][0], rng.integers(1, 8, 5).tolist()), {})


@plain
def embedding_mean():
    return modules.Bag(), tokens(8, 5)


@plain
def attention():
    return modules.Attending(), normal(4, 6, 8)


@plain
def attention_over_sequences_of_changing_length():
    return modules.Attending(), lambda rng: normal(4, int(rng.integers(3, 9)), 8)(rng)


@plain
def encoder_layer():
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True), normal(4, 6, 8)


@plain
def decoder():
    return modules.Decoder(), tokens(4, 6)


@specimen(lambda output: output["logits"])
def dict_output():
    return modules.Structured("dict"), normal(12, 6)


@first
def list_output():
    return modules.Structured("list"), normal(12, 6)


@specimen(lambda output: output.logits)
def dataclass_output():
    return modules.Structured("dataclass"), normal(12, 6)


@first
def namedtuple_output():
    return modules.Structured("namedtuple"), normal(12, 6)


@plain
def kwargs_only():
    return modules.KeywordsOnly(), lambda rng: (
        (),
        {"left": normal(12, 6)(rng)[0][0], "right": normal(12, 4)(rng)[0][0], "scale": 0.5},
    )


@plain
def weight_norm():
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 8)), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@plain
def spectral_norm():
    return nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Linear(8, 3)), normal(12, 6)


@plain
def lazy_linear():
    return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3)), normal(12, 6)


@plain
def bfloat16():
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).to(torch.bfloat16)
    return model, normal(12, 6, dtype=torch.bfloat16)


@plain
def float64():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).double(), normal(12, 6, dtype=torch.float64)


@plain
def autocast():
    return modules.Autocast(), normal(12, 6)


@plain
def complex_intermediate():
    return modules.Fourier(), normal(12, 6)


@plain
def checkpoint_reentrant():
    return modules.Checkpointed(use_reentrant=True), normal(12, 6)


@plain
def checkpoint_nonreentrant():
    return modules.Checkpointed(use_reentrant=False), normal(12, 6)


@plain
def dropout():
    return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)), normal(12, 6)


@plain
def frozen():
    return modules.Frozen(), normal(12, 6)


@plain
def unused_branch():
    return modules.Unused(), normal(12, 6)


@plain
def empty_batch():
    model, batches = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)), []

    def make_batch(rng: np.random.Generator) -> Batch:
        batches.append(0 if len(batches) % 3 == 1 else 12)
        return normal(batches[-1], 6)(rng)

    return model, make_batch


@plain
def single_linear():
    return nn.Linear(6, 3), normal(12, 6)


@plain
def buffers_and_attributes_changed_by_forward():
    return modules.Counting(), normal(12, 6)


@plain
def unbatched_cells():
    return modules.OneAtATime(), normal(6, 6)


@plain
def float16():
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)).half()
    return model, normal(12, 6, dtype=torch.float16)


@specimen(lambda output: output.logits)
def gpt2():
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(vocab_size=11, n_positions=16, n_embd=8, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    return GPT2LMHeadModel(config), tokens(4, 6)


@plain
def transformer_encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
    return nn.TransformerEncoder(layer, 3), normal(4, 6, 8)


@plain
def transformer():
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.1, batch_first=True)
    return model, lambda rng: ((normal(4, 6, 8)(rng)[0][0], normal(4, 5, 8)(rng)[0][0]), {})


@first
def rnn():
    return nn.RNN(4, 5, nonlinearity="relu"), normal(7, 6, 4)


@plain
def embedding_bag():
    return nn.Sequential(nn.EmbeddingBag(11, 6), nn.Linear(6, 3)), tokens(8, 5)


@plain
def unbatched():
    model = nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))
    return model, lambda rng: ((), {"input": normal(6)(rng)[0][0]})


@plain
def five_axes():
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)), normal(2, 3, 2, 3, 6)


@plain
def a_single_number():
    return modules.Averaging(), normal(12, 6)


@plain
def parts_that_give_no_activations():
    return modules.OddParts(), normal(12, 6)


@plain
def conjugates():
    return modules.Conjugates(), normal(12, 6)


@plain
def jagged():
    make = normal(20, 6)
    return modules.Jagged(), lambda rng: ((make(rng)[0][0], rng.integers(1, 6, 4).tolist()), {})


@plain
def weight_tying():
    return modules.Tied(), tokens(8, 5)


@plain
def weights_of_its_own_beside_a_part():
    return nn.Sequential(modules.OwnWeights(), nn.Linear(8, 3)), normal(12, 6)


@plain
def lora_by_hand():
    return nn.Sequential(modules.Adapted(), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@plain
def lora_as_parametrization():
    linear = nn.Linear(6, 8)
    parametrize.register_parametrization(linear, "weight", modules.LowRank())
    linear.parametrizations.weight.original.requires_grad_(False)
    return nn.Sequential(linear, nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@plain
def lora_of_peft():
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["first"], lora_dropout=0.1)
    return get_peft_model(modules.TwiceUsed(), config), normal(12, 6)


@plain
def quantisation_aware():
    with warnings.catch_warnings(action="ignore"):
        from torch.ao.quantization import get_default_qat_qconfig, prepare_qat

        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
        model.qconfig = get_default_qat_qconfig("fbgemm")
        return prepare_qat(model), lambda rng: ((), {"input": normal(5, 3, 4, 4)(rng)[0][0]})


@plain
def data_parallel():
    return nn.DataParallel(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))), normal(12, 6)


@plain
def averaged_model():
    return AveragedModel(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3))), normal(12, 6)


@plain
def checkpoint_wrapped():
    block = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.Tanh())
    return nn.Sequential(nn.Linear(6, 8), checkpoint_wrapper(block), nn.Linear(8, 3)), normal(12, 6)


@plain
def checkpoint_of_a_shared_block():
    return modules.CheckpointedTwice(), normal(12, 6)


@plain
def one_layer_twice_in_a_list():
    return modules.Listed(), normal(12, 6)


@plain
def plain_list_of_layers():
    return modules.Unregistered(), normal(12, 6)


@plain
def recursive():
    return modules.Recursive(), normal(12, 6)


@plain
def fan_out():
    return modules.FanOut(), normal(4, 3)


@plain
def hooks_of_its_own():
    return modules.WithHooks(), normal(12, 6)


def append(model: nn.Module, optimizer: Optimizer, step: int) -> None:
    if step == 1:
        model.append(nn.Linear(3, 2))
        optimizer.add_param_group({"params": list(model[-1].parameters())})


@altered(append)
def layer_appended():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


def widen(model: nn.Module, optimizer: Optimizer, step: int) -> None:
    if step == 1:
        model[0], model[2] = nn.Linear(6, 10), nn.Linear(10, 3)
        optimizer.add_param_group({"params": list(model.parameters())})


@altered(widen)
def layers_replaced_by_wider_ones():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


def remove(model: nn.Module, _: Optimizer, step: int) -> None:
    if step == 1:
        del model[3]


@altered(remove)
def layer_removed():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Linear(3, 3)), normal(12, 6)


@called(lambda model, x: model.decoder(model.encoder(x)))
def parts_called_by_the_loop():
    return modules.Parted(), normal(12, 6)


@called(lambda model, x: model["decoder"](model["encoder"](x)))
def parts_in_a_dictionary():
    return nn.ModuleDict({"encoder": modules.TwiceUsed(), "decoder": nn.Linear(4, 3)}), normal(12, 6)


def called_functionally(model: nn.Module, x: Tensor) -> Tensor:
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    return functional_call(model, (dict(model.named_parameters()), buffers), (x,))


@called(called_functionally)
def functional():
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)), normal(12, 6)


@called(lambda model, x: vmap(model)(x))
def vmapped():
    return modules.TwiceUsed(), normal(12, 6)


@called(lambda model, x: vmap(vmap(model), in_dims=1)(x))
def vmapped_twice():
    return modules.TwiceUsed(), normal(4, 3, 6)


def per_sample_gradients(model: nn.Module, x: Tensor) -> Tensor:
    """A number whose gradient is made of those of every row."""

    def loss(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(model, parameters, (row,)).square().sum()

    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, x)
    return sum((parameter * gradients[name].mean(0)).sum() for name, parameter in model.named_parameters())


@called(per_sample_gradients)
def gradients_of_every_sample():
    return modules.TwiceUsed(), normal(12, 6)


def penalised(model: nn.Module, x: Tensor) -> Tensor:
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        y = model(x)
        (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return y + gradient.square().sum(1, keepdim=True)


@called(penalised)
def gradient_penalty():
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), normal(12, 6)


def again_if_it_raises(model: nn.Module, x: Tensor) -> Tensor:
    try:
        return model(x)
    except ValueError:
        return model(x)


@called(again_if_it_raises)
def raises_now_and_then():
    return modules.Fragile(), normal(12, 6)


def kept_by(model: nn.Module, x: Tensor) -> Tensor:
    assert model(x) is None
    return vars(model).pop("kept")


@called(kept_by)
def gives_none():
    return modules.KeepsItsLoss(), normal(12, 6)
