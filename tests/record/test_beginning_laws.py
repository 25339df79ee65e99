"""A resumed training is an uninterrupted one, wherever hypothesis stops it and however often."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import icshift
from tests.covering import often
from tests.record.test_beginning import OPTIONS, Training, assert_same, epochs, stopped
from tests.record.test_beginning import whole as uninterrupted

few = settings(max_examples=often(4, 60), derandomize=True, deadline=None, database=None)


@few
@given(
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=3),
    st.sampled_from(({}, {"window": 3}, {"samples": "all"}, {"probe": None})),
)
def test_a_training_that_is_stopped_wherever_is_one_that_nobody_stopped(last, stops, options):
    """`stops` are epochs begun by each process, and steps that it did into the epoch in which it was killed."""
    options = {**OPTIONS, **options}
    with tempfile.TemporaryDirectory() as folder:
        whole, path = Path(folder) / "whole", Path(folder) / "run"
        training = Training()
        with icshift.Recorder(training.model, whole, optimizer=training.optimizer, **options) as recorder:
            list(epochs(training, recorder, 0, last))
        saved, first = Training().saved(), 0
        for epoch, steps in stops:
            until = min(max(first, epoch), last)
            training = Training().load(saved)
            with icshift.Recorder(
                training.model, path, optimizer=training.optimizer, resume=True, **options
            ) as recorder:
                *_, saved = epochs(training, recorder, first, until)
                training.epoch(steps)
                recorder._journal.settle()
                left = shutil.copytree(path, Path(folder) / "left")
            shutil.rmtree(path)
            left.rename(path)
            first = until
        training = Training().load(saved)
        with icshift.Recorder(training.model, path, optimizer=training.optimizer, resume=True, **options) as recorder:
            list(epochs(training, recorder, first, last))
        assert_same(path, whole)


def test_of_several_processes_each_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    saved = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        uninterrupted(tmp_path / "whole", 4)
        saved[rank] = stopped(tmp_path / "ended", tmp_path / f"left by {rank}", 2, 3)[-1]
    left = shutil.copytree(tmp_path / "left by 1", tmp_path / "run")
    for file in [*left.glob("run.json"), *left.glob("*/*.rank0.parquet")]:
        file.unlink()
    first = tmp_path / "left by 0"
    for file in [*first.glob("run.json"), *first.glob("*/*.rank0.parquet")]:
        shutil.copy(file, left / file.relative_to(first))
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        training = Training().load(saved[rank])
        options = {**OPTIONS, "resume": True}
        with icshift.Recorder(training.model, left, optimizer=training.optimizer, **options) as recorder:
            list(epochs(training, recorder, 2, 4))
    assert_same(left, tmp_path / "whole")
