"""The modules of the zoo: each does one thing that forward hooks are known to trip over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.checkpoint import checkpoint


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 8)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 8), nn.ReLU()) for _ in range(2))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class TwiceUsed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.relu = nn.Linear(6, 8), nn.Linear(8, 4), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.second(self.relu(self.first(x))))


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(6, 6)
        self.decode = self.encode

    def forward(self, x: Tensor) -> Tensor:
        return self.decode(torch.tanh(self.encode(x)))


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(4, 5, batch_first=True)

    def forward(self, x: Tensor, lengths: list[int]) -> Any:
        return self.rnn(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))[0]


class Bag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 6), nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids).mean(1))


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        mixed, _weights = self.attention(x, x, x)
        return self.head(mixed)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        nn.init.normal_(self.embed.weight, std=0.2)
        self.norm, self.qkv, self.out = nn.RMSNorm(8), nn.Linear(8, 24, bias=False), nn.Linear(8, 8)
        self.norm2, self.gate, self.up, self.down = nn.RMSNorm(8), nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        q, k, v = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, -1))
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        y = self.norm2(x)
        x = x + self.down(functional.silu(self.gate(y)) * self.up(y))
        return functional.linear(x, self.embed.weight)


@dataclass
class Result:
    logits: Tensor
    hidden: list[Tensor]


class Pair(NamedTuple):
    logits: Tensor
    best: Tensor


class Structured(nn.Module):
    """Gives its two tensors as a dict, a dataclass, a list or a namedtuple."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.body, self.head = form, nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Any:
        hidden = self.body(x)
        logits = self.head(hidden.relu())
        forms = {
            "dict": lambda: {"logits": logits, "a key": hidden, "note": None},
            "dataclass": lambda: Result(logits, [hidden]),
            "list": lambda: [logits, hidden],
            "namedtuple": lambda: Pair(logits, hidden.argmax(-1)),
        }
        return forms[self.form]()


class KeywordsOnly(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(6, 5), nn.Linear(4, 5)

    def forward(self, *, left: Tensor, right: Tensor, scale: float = 1.0) -> Tensor:
        return self.left(left) + scale * self.right(input=right)


class Autocast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x = self.first(x)
        return self.second(x.float())


class Fourier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.spectrum = nn.Linear(5, 5, dtype=torch.complex64)
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.spectrum(torch.fft.rfft(self.first(x))).abs())


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.stem, self.head, self.use_reentrant = nn.Linear(6, 8), nn.Linear(8, 3), use_reentrant
        self.block = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        if torch.is_grad_enabled():
            return self.head(checkpoint(self.block, x, use_reentrant=self.use_reentrant))
        return self.head(self.block(x))


class Frozen(nn.Module):
    """A backbone that stays in eval mode, whatever `train()` says, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()).requires_grad_(False)
        self.head = nn.Linear(8, 3)

    def train(self, mode: bool = True) -> Frozen:
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.backbone(x)
        return self.head(x)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.never, self.bypassed = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.bypassed.forward(self.used(x))


class Counting(nn.Module):
    """Every forward changes buffers and plain attributes, in place and by new objects; the output shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.memory, self.calls = nn.Linear(6, 4), torch.zeros(4), 0
        self.register_buffer("seen", torch.zeros(1))
        self.register_buffer("average", None)
        self.register_buffer("largest", torch.zeros(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        self.seen += len(x)
        self.calls += 1
        self.average = y.detach().mean(0) if self.average is None else 0.9 * self.average + 0.1 * y.detach().mean(0)
        self.largest = torch.maximum(self.largest, y.detach().amax(0))
        self.memory = 0.5 * self.memory + y.detach().mean(0)
        return y * (1 + 0.1 * self.calls) - self.average + self.memory + 0.01 * self.largest / self.seen


class OneAtATime(nn.Module):
    """Unbatched rows through cells, in a loop whose length changes from step to step."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.ModuleList([nn.LSTMCell(6, 4), nn.GRUCell(4, 4)])
        self.head, self.turn = nn.Linear(4, 1), 0

    def forward(self, rows: Tensor) -> Tensor:
        self.turn = self.turn + 1 if self.training else 2
        state = [self.head(self.cells[1](self.cells[0](row)[0])) for row in rows[: 1 + self.turn]]
        return torch.stack(state)


class Parted(nn.Module):
    """Never called as a whole: the training calls its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = TwiceUsed()
        self.decoder = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


class Listed(nn.Module):
    """One layer twice in a list."""

    def __init__(self) -> None:
        super().__init__()
        block = nn.Linear(6, 6)
        self.layers = nn.ModuleList([block, block, nn.Linear(6, 3)])

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


class Unregistered(nn.Module):
    """Holds layers in a plain list, where PyTorch does not find them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers, self.head = [nn.Linear(6, 8), nn.ReLU()], nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class Recursive(nn.Module):
    """Calls itself."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor, depth: int = 12) -> Tensor:
        x = torch.tanh(self.step(x))
        return self(x, depth - 1) if depth else self.head(x)


class FanOut(nn.Module):
    """More tiny layers side by side than a signed byte can number."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 2) for _ in range(150))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([layer(x) for layer in self.layers]).sum(0) / 10


class Conjugate(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.conj()


class Imaginary(nn.Module):
    """Gives a view that is to be negated by whoever reads it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.conj().imag


class Conjugates(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.conjugate, self.imaginary = nn.Linear(6, 5, dtype=torch.complex64), Conjugate(), Imaginary()
        self.head = nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conjugate(self.first(x.to(torch.complex64)))
        return self.head(self.imaginary(z) + z.real)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(11, 6), nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(self.embed(ids))))


class Adapted(nn.Module):
    """A frozen layer and a hand-written low-rank adapter beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8).requires_grad_(False)
        self.down, self.up = nn.Parameter(torch.randn(6, 2)), nn.Parameter(torch.zeros(2, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) + x @ self.down @ self.up


class LowRank(nn.Module):
    """The same as a parametrisation of the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Parameter(torch.randn(8, 2)), nn.Parameter(torch.zeros(2, 6))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.left @ self.right


class OwnWeights(nn.Module):
    """A layer whose weights are its own and whose activation is a part."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.activation = nn.Parameter(torch.randn(6, 8) / 3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(x @ self.weight)


class Gives(nn.Module):
    """Gives something else than a dense tensor, by name."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, x: Tensor) -> Any:
        forms = {
            "nothing": lambda: None,
            "text": lambda: "text",
            "numbers": lambda: x.argmax(-1),
            "scalar": x.mean,
            "generator": lambda: (row for row in x),
            "sparse": x.to_sparse,
            "class": lambda: Result,
        }
        return forms[self.form]()


class OddParts(nn.Module):
    """Its parts give no tensor, or none of activations; what matters goes past them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)
        forms = "nothing", "text", "numbers", "scalar", "generator", "sparse", "class"
        self.odd = nn.ModuleDict({form: Gives(form) for form in forms})

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        found = {name: part(y) for name, part in self.odd.items()}
        return self.head(found["sparse"].to_dense()) + found["scalar"]


class KeepsItsLoss(nn.Module):
    """Gives None."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> None:
        self.kept = self.linear(x)


class Averaging(nn.Module):
    """Gives a single number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).square().mean()


class Fragile(nn.Module):
    """Raises in every fourth forward, half-way through."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head, self.calls = nn.Linear(6, 5), nn.Linear(5, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        self.calls += 1
        if self.calls % 4 == 0:
            raise ValueError("the fourth time")
        return self.head(y)


class CheckpointedTwice(nn.Module):
    """One block, checkpointed in each of its two calls."""

    def __init__(self) -> None:
        super().__init__()
        self.block, self.head = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.2), nn.Tanh()), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = checkpoint(self.block, x, use_reentrant=False)
        return self.head(x)


class Jagged(nn.Module):
    """Sequences of several lengths as one nested tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.relu, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor, lengths: list[int]) -> Tensor:
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        nested = torch.nested.nested_tensor_from_jagged(x[: sum(lengths)], offsets)
        return self.head(self.relu(self.norm(self.first(nested)))).values()


def scale_output(_: nn.Module, __: Any, output: Tensor) -> Tensor:
    return 0.5 * output


def scale_input(_: nn.Module, args: tuple[Tensor]) -> Tensor:
    return 2 * args[0]


def clip_gradient(_: nn.Module, gradients: tuple[Tensor], __: Any) -> tuple[Tensor]:
    return (gradients[0].clamp(-0.1, 0.1),)


class WithHooks(nn.Module):
    """Has hooks of its own that change what passes."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 3)
        self.first.register_forward_hook(scale_output)
        self.second.register_forward_pre_hook(scale_input)
        self.second.register_full_backward_hook(clip_gradient)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x))
