"""Which examples reached a model: order-free, and unknown where it is not known."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from icshift.analysis.same_examples import same_examples
from icshift.hooks.examples import Examples
from icshift.runs.format import Seen

ROOT = nn.Linear(4, 2)
X = torch.randn(12, 4)
TOKENS = torch.randint(0, 50, (12, 5))


def seen(*forwards, model=ROOT, sure=True):
    """What is known of the phase after these forwards, each a tensor, or arguments in a tuple or a dictionary."""
    examples = Examples(model, seed=1)
    for given in forwards:
        args = given if type(given) is tuple else () if type(given) is dict else (given,)
        examples.take("train", model, (args, given if type(given) is dict else {}), sure=sure)
    return examples.seen()["train"]


def shuffled(tensor, seed=0):
    return tensor[torch.randperm(len(tensor), generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_neither_order_nor_batches_matter_but_every_example_does(dtype):
    x = X.to(dtype)
    whole = seen(x)
    assert whole.examples == 12
    assert same_examples(whole, seen(*shuffled(x).split(5))) is True
    assert same_examples(whole, seen(x[:11])) is False
    assert same_examples(whole, seen(torch.cat([x[:11], x[:1]]))) is False
    assert same_examples(whole, seen(x + 0.1 * torch.randn(12, 4).to(dtype))) is False
    assert same_examples(whole, seen(x.flip(1))) is False


@dataclass
class Batch:
    x: torch.Tensor
    y: torch.Tensor


@pytest.mark.parametrize(
    "made",
    [
        lambda x, y: (x, y),
        lambda x, y: {"x": x, "y": y},
        lambda x, y: ({"ids": y, "deep": [x, {"more": x}]},),
        lambda x, y: ([x, y],),
        lambda x, y: (Batch(x, y), None, 0.5, "mean"),
        lambda x, y: (x, y[:, 0], torch.tensor(0.3)),
    ],
    ids=["positional", "keyword", "nested", "list", "dataclass", "with options"],
)
def test_tensors_of_an_example_belong_together_wherever_they_are(made):
    order = torch.randperm(12)
    first = seen(made(X, TOKENS))
    assert same_examples(first, seen(made(X[order], TOKENS[order]))) is True
    assert same_examples(first, seen(made(X, TOKENS[torch.arange(12).roll(1)]))) is False


def test_texts_padded_to_the_longest_of_a_batch_are_never_called_different():
    padded = torch.cat([TOKENS, torch.zeros(12, 3, dtype=torch.int64)], 1)
    first = seen(TOKENS[:6], padded[6:])
    assert same_examples(first, seen(padded[6:], TOKENS[:6])) is True
    assert same_examples(first, seen(TOKENS[3:9], padded[:3], padded[9:])) is None
    assert same_examples(seen(TOKENS), seen(padded)) is None


def test_what_may_be_no_example_is_never_called_different():
    mask = torch.ones(12, 12).tril()
    graph = torch.tensor([[0, 1, 2], [1, 2, 3]])
    for extra in (mask, graph, torch.ones(1, 4)):
        first = seen((X, extra))
        assert same_examples(first, seen((X, extra))) is True
        assert same_examples(first, seen((shuffled(X), extra))) in (None, True)
        assert same_examples(first, seen((X, extra + 1))) is None


@pytest.mark.parametrize(
    "given",
    [
        (),
        (3.0,),
        (pack_sequence([X[:3], X[3:5]]),),
        (X.to("meta"),),
        (X.to_sparse(),),
        (torch.nested.nested_tensor([X[:3], X[3:5]]),),
        (torch.quantize_per_tensor(X, 0.1, 0, torch.qint8),),
        (SimpleNamespace(x=X),),
        (X, SimpleNamespace(x=X)),
        (["a text", "another"],),
        (X, ["a text", "another"]),
        ([torch.ones(3, 8, 8), torch.ones(3, 9, 7)],),
        (X, X.to("meta")),
        tuple(torch.ones(2, 1) for _ in range(65)),
    ],
    ids=lambda given: ", ".join(type(value).__name__ for value in given[:3]) or "nothing",
)
def test_what_cannot_be_hashed_is_not_known_from_then_on(given):
    assert seen(X, given, X) is None


def test_a_window_after_one_that_is_not_known_is():
    examples = Examples(ROOT, seed=1)
    examples.take("train", ROOT, None, sure=True)
    examples.take("eval", ROOT, ((X,), {}), sure=False)
    assert examples.seen() == {"train": None, "eval": seen(X)}
    examples.new_window()
    assert examples.seen() == {}
    examples.take("train", ROOT, ((X,), {}), sure=True)
    assert examples.seen() == {"train": seen(X)}


def test_an_empty_batch_adds_nothing():
    assert seen(X[:0]) == Seen(0, "0" * 16, "")
    assert seen(X, X[:0]) == seen(X)


def test_parts_are_called_with_examples_only_if_one_alone_is_called():
    model = nn.Sequential(encoder := nn.Sequential(nn.Linear(4, 4)), decoder := nn.Sequential(nn.Linear(4, 4)))

    def called(*parts, sure=True):
        examples = Examples(model, seed=1)
        for part, given in parts:
            examples.take("train", part, ((given,), {}), sure=sure)
        return examples.seen()["train"]

    assert same_examples(called((encoder, X)), called((encoder, X + 1))) is False
    assert same_examples(called((encoder, X), sure=False), called((encoder, X + 1), sure=False)) is None
    assert same_examples(called((encoder, X), (decoder, X)), called((encoder, X), (decoder, X + 1))) is None
    assert same_examples(called((model, X), sure=False), called((model, X + 1), sure=False)) is False


def test_what_another_network_made_is_never_called_different():
    first, second = (seen(nn.Linear(4, 4)(X)) for _ in range(2))
    assert same_examples(first, second) is None
    assert same_examples(seen(X.clone().requires_grad_()), seen(X + 1)) is False


@pytest.mark.parametrize("part", [nn.LSTM(4, 4), nn.MultiheadAttention(4, 2), nn.Transformer(4, 2)], ids=str)
def test_where_time_may_come_first_nothing_is_known(part):
    assert seen(torch.randn(7, 12, 4), model=nn.Sequential(part)) is None


def test_batches_first_are_known():
    model = nn.Sequential(nn.LSTM(4, 4, batch_first=True), nn.MultiheadAttention(4, 2, batch_first=True))
    assert seen(torch.randn(12, 7, 4), model=model).examples == 12


def test_sums_of_a_device_are_read_at_the_end():
    # Tensors on no device that this machine has to have: what is kept is a tensor, added up where it lies.
    examples = Examples(ROOT, seed=1)
    examples.take("train", ROOT, ((X[:4],), {}), sure=True)
    phase = examples._phases["train"]
    phase.remote[X.device], phase.total = torch.tensor(phase.total - 2**64 if phase.total >= 2**63 else phase.total), 0
    examples.take("train", ROOT, ((X[4:],), {}), sure=True)
    assert examples.seen()["train"] == seen(X)
