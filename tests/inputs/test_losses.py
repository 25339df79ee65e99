"""Losses by name against torch's own, on whatever a model gives."""

import re

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers.modeling_outputs import CausalLMOutput

from icshift.errors import IcshiftError
from icshift.inputs.losses import loss_named

torch.manual_seed(0)
SCORES, CLASSES = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 1, 0])
VALUES, WANTED = torch.randn(6, 1), torch.rand(6, 1)
WORDS, IDS = torch.randn(2, 5, 7), torch.randint(0, 7, (2, 5))

NAMES = {
    "cross_entropy": (functional.cross_entropy, SCORES, CLASSES),
    "ce": (functional.cross_entropy, SCORES, CLASSES),
    "CrossEntropyLoss": (functional.cross_entropy, SCORES, CLASSES),
    "nll": (functional.nll_loss, SCORES.log_softmax(1), CLASSES),
    "mse": (functional.mse_loss, VALUES, WANTED),
    "MSELoss": (functional.mse_loss, VALUES, WANTED),
    "l1_loss": (functional.l1_loss, VALUES, WANTED),
    "mae": (functional.l1_loss, VALUES, WANTED),
    "smooth_l1": (functional.smooth_l1_loss, VALUES, WANTED),
    "huber": (functional.huber_loss, VALUES, WANTED),
    "bce_with_logits": (functional.binary_cross_entropy_with_logits, VALUES, WANTED),
    "binary_cross_entropy": (functional.binary_cross_entropy, VALUES.sigmoid(), WANTED),
    "bce": (functional.binary_cross_entropy, VALUES.sigmoid(), WANTED),
    "soft_margin": (functional.soft_margin_loss, VALUES, WANTED),
    "poisson_nll": (functional.poisson_nll_loss, VALUES, WANTED),
}


@pytest.mark.parametrize("name", NAMES)
def test_names(name):
    function, output, target = NAMES[name]
    assert loss_named(name).compute(output, target) == function(output, target)


@pytest.mark.parametrize(
    "output",
    [
        (SCORES, torch.zeros(3)),
        [SCORES],
        {"hidden": torch.zeros(6, 2), "logits": SCORES},
        CausalLMOutput(logits=SCORES),
        (torch.tensor(1.0), SCORES),
    ],
    ids=["tuple", "list", "dictionary", "model output", "after a number"],
)
def test_the_output_that_is_meant(output):
    assert loss_named("ce").compute(output, CLASSES) == functional.cross_entropy(SCORES, CLASSES)


@pytest.mark.parametrize(
    "target",
    [CLASSES.to(torch.uint8), CLASSES.int(), CLASSES.float(), CLASSES[:, None], CLASSES.double()[:, None]],
    ids=["uint8", "int32", "float", "a column", "a column of floats"],
)
def test_classes_in_any_form(target):
    assert loss_named("ce").compute(SCORES, target) == functional.cross_entropy(SCORES, CLASSES)


def test_probabilities_are_targets():
    shares = torch.rand(6, 4).softmax(1)
    assert loss_named("ce").compute(SCORES, shares) == functional.cross_entropy(SCORES, shares)


def test_language_models_have_their_classes_last():
    expected = functional.cross_entropy(WORDS.reshape(-1, 7), IDS.reshape(-1))
    assert loss_named("ce").compute(WORDS, IDS) == expected
    assert loss_named("ce").compute(WORDS.transpose(1, 2), IDS) == expected
    ignored = IDS.clone()
    ignored[:, 0] = -100
    assert loss_named("ce").compute(WORDS, ignored) == functional.cross_entropy(
        WORDS.reshape(-1, 7), ignored.reshape(-1)
    )


def test_a_column_is_never_broadcast():
    assert loss_named("mse").compute(VALUES, WANTED[:, 0]) == functional.mse_loss(VALUES, WANTED)
    assert loss_named("mse").compute(VALUES[:, 0], WANTED) == functional.mse_loss(VALUES, WANTED)
    assert loss_named("mse").compute(VALUES, (WANTED > 0.5).long()) == functional.mse_loss(
        VALUES, (WANTED > 0.5).float()
    )


class Named:
    loss = torch.tensor(2.0)


@pytest.mark.parametrize(
    "output",
    [
        CausalLMOutput(loss=torch.tensor(2.0), logits=SCORES),
        {"loss": torch.tensor([2.0])},
        Named(),
        (SCORES, torch.tensor(2.0)),
        torch.tensor(2.0),
    ],
    ids=["model output", "dictionary", "attribute", "tuple", "number"],
)
def test_own(output):
    assert loss_named("own").compute(output, None) == 2
    assert not loss_named("own").needs_targets


def of_output_and_target(output, target):
    return (output[0] - target).square().sum() / 7


HUBER = nn.HuberLoss(delta=0.1)
WORD = "word"


def failing(_, target):
    raise KeyError(target.shape)


def test_specs():
    here = "tests.inputs.test_losses"
    assert loss_named(f"{here}:of_output_and_target").compute((VALUES,), WANTED) == (VALUES - WANTED).square().sum() / 7
    assert loss_named(f"{here}:HUBER").compute(VALUES, WANTED) == HUBER(VALUES, WANTED)
    assert loss_named("torch.nn:L1Loss").compute(VALUES, WANTED) == functional.l1_loss(VALUES, WANTED)
    assert loss_named("torch.nn.functional:mse_loss").needs_targets


MISTAKES = {
    "a name": ("crossentropy2", SCORES, CLASSES, "no loss 'crossentropy2'; did you mean cross_entropy"),
    "no name": ("zzzzz", SCORES, CLASSES, "known: cross_entropy, nll_loss, mse_loss"),
    "shapes": ("mse", SCORES, WANTED, "output [6, 4] float32 and target [6, 1] float32 do not fit"),
    "as many": ("mse", torch.zeros(6, 1), torch.zeros(1, 6), "output [6, 1] float32 and target [1, 6]"),
    "lengths": ("ce", SCORES, CLASSES[:5], "output [6, 4] float32 and target [5] int64 do not fit"),
    "one axis": ("ce", SCORES[:, 0], CLASSES, "output [6] float32 and target [6] int64 do not fit"),
    "too many classes": ("ce", SCORES, CLASSES + 1, "classes from 1 to 4, and the output has 4"),
    "below 0": ("nll", SCORES, CLASSES - 1, "classes from -1 to 2, and the output has 4"),
    "no classes": ("ce", SCORES, WANTED[:, 0], "takes classes as targets, whole numbers: found 0."),
    "no probabilities": ("bce", 9 * VALUES, WANTED, "--loss binary_cross_entropy_with_logits"),
    "no tensor": ("ce", ["words"], CLASSES, "the model gives list: expected a tensor"),
    "no loss": ("own", CausalLMOutput(logits=SCORES), None, "CausalLMOutput without a loss: name an array"),
    "a spec of nothing": ("torch.nn:L3Loss", VALUES, WANTED, "no name 'L3Loss'; did you mean"),
    "a spec of a word": ("tests.inputs.test_losses:WORD", VALUES, WANTED, "is str: expected a function"),
    "not one number": ("torch:sub", VALUES, WANTED, "gave [6, 1] float32: expected one number"),
    "it fails": ("tests.inputs.test_losses:failing", VALUES, WANTED, "output [6, 1] float32, target [6, 1]"),
    "a class": ("torch.nn:Linear", VALUES, WANTED, "torch.nn:Linear() failed: TypeError"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name):
    spec, output, target, said = MISTAKES[name]
    with pytest.raises(IcshiftError, match=re.escape(said)) as raised:
        loss_named(spec).compute(output, target)
    assert "\n" not in str(raised.value)
