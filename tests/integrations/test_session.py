"""A recording that a trainer's events start and end, or fail to end."""

import gc

import pytest
import torch
from torch import nn

import icshift
from icshift.errors import RecordingError, RunError
from icshift.integrations.session import CUT_SHORT, Session
from tests.integrations.trainers import hooks_on, steps_of_windows


def train(model, steps=3):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        model(torch.randn(4, 2)).square().sum().backward()
        optimizer.step()


@pytest.fixture
def model():
    return nn.Linear(2, 2)


def test_windows_end_where_the_trainer_says(model, tmp_path):
    session = Session(tmp_path / "run", {})
    assert not session.recording
    session.next_window()
    session.end()
    session.start(model)
    assert session.recording
    train(model, 3)
    session.next_window()
    train(model, 2)
    session.end()
    session.end(CUT_SHORT)
    assert not session.recording
    assert steps_of_windows(tmp_path / "run") == [(0, 2), (3, 4)]
    assert hooks_on(model) == 0


def test_with_a_window_of_steps_the_trainer_is_not_asked(model, tmp_path):
    session = Session(tmp_path / "run", {"window": 2})
    session.start(model)
    train(model, 3)
    session.next_window()
    train(model, 1)
    session.end()
    assert steps_of_windows(tmp_path / "run") == [(0, 1), (2, 3)]


def test_a_training_that_begins_again_goes_on_in_a_new_window(model, tmp_path):
    session = Session(tmp_path / "run", {})
    for _ in range(2):
        session.start(nn.DataParallel(model))
        train(model, 2)
    session.end()
    assert steps_of_windows(tmp_path / "run") == [(0, 1), (2, 3)]


def test_a_second_training_needs_a_path_of_its_own(model, tmp_path):
    session = Session(tmp_path / "run", {})
    session.start(model)
    train(model)
    session.end()
    with pytest.raises(RunError, match="exists"):
        session.start(model)


def test_an_option_that_does_not_exist_is_refused_before_the_training(model, tmp_path):
    with pytest.raises(TypeError, match="sampels"):
        Session(tmp_path / "run", {"sampels": 3}).start(model)


def test_a_session_that_is_dropped_finishes_its_recording(model, tmp_path):
    session = Session(tmp_path / "run", {})
    session.start(model)
    train(model)
    del session
    gc.collect()
    assert icshift.open(tmp_path / "run").finished
    assert hooks_on(model) == 0


def test_a_training_that_shows_nothing_is_warned_of_and_not_ended(model, tmp_path):
    session = Session(tmp_path / "run", {})
    session.start(model)
    with pytest.warns(RuntimeWarning, match="saw|nothing|no "):
        session.end()
    assert isinstance(CUT_SHORT, RecordingError)
