"""The digits are those of the demo, loaded once, and accuracy is the share of right answers in eval mode."""

import torch

from icshift.demo import TRAINING_EXAMPLES, load_digits
from icshift.selfcheck.digits import accuracy, digits


def test_digits_are_those_of_the_demo_and_loaded_once():
    data, own = digits(), load_digits()
    assert digits() is data
    assert torch.equal(data.train_images, own.train_images)
    assert torch.equal(data.test_classes, own.test_classes)
    assert len(data.train_images) == TRAINING_EXAMPLES


def test_accuracy_is_the_share_of_right_answers_in_eval_mode():
    """Dropout of everything makes every answer 0 in training mode."""
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Dropout(1.0))
    images = torch.eye(4)
    assert accuracy(model, images, torch.tensor([0, 1, 2, 0])) == 0.75
    assert model.training
    assert all(module.training for module in model)
