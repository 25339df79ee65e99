"""More processes than saved models: each sends a share of the data through all of them."""

import shutil

import numpy as np
import pytest

from icshift.analysis.distances import w1, w1_error
from icshift.analysis.drift import drift
from icshift.distribution import EXAMPLES
from icshift.runs.reader import StoredRun

RANKS = 3
PHASES = ["--train-mode", "--running"]


@pytest.fixture
def two(saved, tmp_path):
    folder = tmp_path / "two"
    folder.mkdir()
    for file in sorted(saved.iterdir())[-2:]:
        shutil.copy2(file, folder)
    return folder


@pytest.fixture
def shared(as_rank, two, tmp_path):
    """Runs the command as all processes, the first one last, which reports."""

    def run(ranks=(2, 1, 0), **options):
        for rank in ranks:
            ended = as_rank(rank, ranks=RANKS, models=two, **options)
            assert ended[0] == 0, ended
        return StoredRun(tmp_path / "run")

    return run


@pytest.fixture
def alone(analyzed, two, tmp_path):
    return lambda **options: analyzed(two, output=tmp_path / "alone", **options)


def pairs(run, other):
    assert (run.phases, run.sites, run.window_list) == (other.phases, other.sites, other.window_list)
    for phase in run.phases:
        for site in run.sites:
            for window in run.window_list:
                yield (
                    run.distribution(phase, site.name, window.index),
                    other.distribution(phase, site.name, window.index),
                )


@pytest.mark.parametrize("size", ["100", "30"])
def test_together_they_record_what_one_does(shared, alone, size):
    options = ["--batch-size", size, "--samples", "all", *PHASES]
    run, other = shared(options=options), alone(options=options)
    assert (run.finished, run.ranks) == (True, RANKS)
    for ours, theirs in pairs(run, other):
        np.testing.assert_array_equal(ours.count, theirs.count)
        np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(ours.std, theirs.std, rtol=1e-6)
        np.testing.assert_array_equal((ours.min, ours.max), (theirs.min, theirs.max))
        assert (w1(ours, theirs) <= w1_error(ours, theirs) + 1e-6).all()


def test_the_same_examples_in_every_window(shared):
    table = drift(shared(), metrics=("displacement", "sliced_w2"))
    assert len(table)
    assert table["value"].notna().all()
    # The first process alone keeps any, of its third of 300 examples: where a site has positions, at so many of these.
    assert set(table["n"]) == {100, EXAMPLES}


def test_a_window_is_there_when_all_have_written_it(shared, tmp_path):
    whole = drift(shared(), metrics=("w1", "mean_shift_sd"))
    (tmp_path / "run" / "windows" / "000002.rank1.parquet").unlink()
    run = StoredRun(tmp_path / "run")
    assert [window.index for window in run.window_list] == [1]
    assert run.missing == ("1 of the 2 windows in windows/ of process 1 is missing.",)
    again = drift(shared(ranks=(1, 2, 0), options=["--resume"]), metrics=("w1", "mean_shift_sd"))
    assert again.equals(whole)


def test_fewer_batches_than_processes(as_rank, two, tmp_path):
    for rank in range(4):
        code, _, err = as_rank(rank, ranks=4, models=two)
        assert code == 2
        assert err.count("\n") == 1
        assert "4 processes for " in err
        assert "which is 3 batches: start at most as many processes, or take smaller batches (--batch-size)" in err
    assert not (tmp_path / "run").exists()
