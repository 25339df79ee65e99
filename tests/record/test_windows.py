"""When windows end, and what belongs to them."""

import pytest
import torch
from torch import nn

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun


def counts(path, phases=("train", "eval")):
    run = StoredRun(path)
    found = []
    for window in run.window_list:
        parts = [run.distribution(phase, "(model)", window.index) for phase in phases]
        found.append(
            (window.first_step, window.last_step, *(0 if part is None else int(part.count[0]) for part in parts))
        )
    return found


def test_an_evaluation_belongs_to_the_window_whose_last_step_it_follows(tmp_path):
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run", window=2) as recorder:
        for step in range(6):
            model.train()(torch.randn(5, 4))
            recorder.step()
            if step % 2:
                model.eval()(torch.randn(7, 4))
    assert counts(tmp_path / "run") == [(0, 1, 10, 7), (2, 3, 10, 7), (4, 5, 10, 7)]


def test_an_epoch_that_begins_ends_the_window_once_the_training_goes_on(tmp_path):
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run", window="auto") as recorder:
        for _ in range(3):
            recorder.epoch_begins()
            for _ in range(4):
                model.train()(torch.randn(5, 4))
                recorder.step()
            recorder.epoch_begins()
            model.eval()(torch.randn(7, 4))
        assert recorder.windows == 2
    assert counts(tmp_path / "run") == [(0, 3, 20, 7), (4, 7, 20, 7), (8, 11, 20, 7)]
    assert not any(window.provisional for window in StoredRun(tmp_path / "run").window_list)


def test_a_window_without_a_step_says_so(tmp_path):
    model = nn.Linear(4, 3).eval()
    with Recorder(model, tmp_path / "run") as recorder:
        model(torch.randn(7, 4))
        recorder.epoch()
    assert counts(tmp_path / "run") == [(0, -1, 0, 7)]


@pytest.mark.parametrize("passes", [1, 3])
def test_what_was_put_back_is_a_window_of_its_own_kind(passes, tmp_path):
    """As a search for a learning rate does before a training."""
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def steps(recorder):
        recorder.epoch_begins()
        for _ in range(5):
            model(torch.randn(5, 4)).square().sum().backward()
            optimizer.step()

    with Recorder(model, tmp_path / "run", window="auto", optimizer=optimizer) as recorder:
        before = {name: value.clone() for name, value in model.state_dict().items()}
        for _ in range(passes):
            steps(recorder)
        model.load_state_dict(before)
        for _ in range(2):
            steps(recorder)
    run = StoredRun(tmp_path / "run")
    undone, done = 5 * passes, str(passes + 1)
    assert [window.name for window in run.window_list] == ["undone-1", done, str(passes + 2)]
    assert counts(tmp_path / "run", ("undone-train", "train")) == [
        (0, undone - 1, 5 * undone, 0),
        (undone, undone + 4, 0, 25),
        (undone + 5, undone + 9, 0, 25),
    ]
