"""Trainings of two processes are recorded as the same training of one."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.bounded import bounded
from tests.laws import w1_of
from tests.oracles.hooks import Witness, leaves, ledger, values
from tests.record.scripts.network import ROWS, STEPS, batches, network, train
from tests.warm.starting import python

SCRIPTS = Path(__file__).parent / "scripts"
RANKS = 2

CALLS = {f"blocks.1.{name}": 2 for name in ("norm", "up", "down")}
SITES = [
    "stem",
    *(f"blocks.{name}" for name in ("0.norm", "0.up", "0.down", "1.norm", "1.up", "1.down")),
    *(f"blocks.1.{name}#2" for name in ("norm", "up", "down")),
    "head",
]


def launch(script, folder):
    """Run it in as many processes as there are ranks; gives what they wrote to stderr."""
    command = [python(), "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(RANKS)]
    with bounded():
        ended = subprocess.run(
            [*command, SCRIPTS / script, folder],
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHON_EXEC": python()},
            capture_output=True,
            text=True,
            check=False,
        )
    assert not ended.returncode, ended.stderr
    assert all((folder / f"finished.{rank}").exists() for rank in range(RANKS))
    return ended.stderr


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("replicated")
    launch("replicated.py", folder)
    return folder


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sharded")
    return folder, launch("sharded.py", folder)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A function from rows a step to the recording of one process, and to what its layers gave."""
    done = {}

    def alone(rows=ROWS):
        if rows not in done:
            model, path = network(), tmp_path_factory.mktemp("alone") / "run"
            witness = Witness(leaves(model), CALLS)
            with Recorder(model, path, samples="all"):
                train(model, batches(rows=rows), after=witness.end)
            done[rows] = StoredRun(path), witness.by_site
        return done[rows]

    return alone


def assert_same_training(found, expected, steps):
    """What several recorded says of every site what one recorded, within what it says of its error."""
    assert found.finished
    assert found.ranks == RANKS
    assert [site.name for site in found.sites] == [site.name for site in expected.sites] == SITES
    assert [(site.type, site.units, site.axis) for site in found.sites] == [
        (site.type, site.units, site.axis) for site in expected.sites
    ]
    for window, other in zip(found.window_list, expected.window_list, strict=True):
        # Sharded parameters are not followed.
        change = None if window.parameter_change is None else pytest.approx(other.parameter_change, rel=1e-5)
        assert window == replace(other, parameter_change=change)
    assert ledger(found) == ledger(expected)
    assert found.manifest["model"] == expected.manifest["model"]
    for site in SITES:
        ours, theirs = (run.distribution("train", site, 1) for run in (found, expected))
        every = values([tensor for tensors in steps[site] for tensor in tensors])
        scale = np.abs(every).max()
        assert ours.count.tolist() == ours.sampled.tolist() == [len(every)] * every.shape[1]
        for name in ("mean", "std", "min", "max"):
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, atol=1e-5 * scale)
        np.testing.assert_allclose(ours.zero_share, theirs.zero_share, atol=1e-6)
        for unit in range(ours.units):
            rounding = 1e-5 * scale
            assert w1_of(ours.values[unit], every[:, unit]) <= ours.w1_error[unit] + rounding
            bound = ours.w1_error[unit] + theirs.w1_error[unit]
            assert w1_of(ours.values[unit], theirs.values[unit]) <= bound + rounding


def assert_same_steps(found, steps, ranks=range(RANKS)):
    """Each process kept, of each step, its own share."""
    table = found.steps()
    assert set(table["rank"]) == set(ranks)
    for site, kept in steps.items():
        of_site = table[(table["site"] == site) & (table["unit"] == 0)]
        for number, tensors in enumerate(kept):
            every = values(tensors)
            rows = of_site[of_site["step"] == number]
            assert rows["rank"].tolist() == list(ranks)
            for _, row in rows.iterrows():
                share = every[int(row["rank"]) :: RANKS, 0]
                assert row["count"] == len(share)
                assert row["mean"] == pytest.approx(share.mean(), rel=1e-4, abs=1e-5)
                assert row["q50"] == pytest.approx(np.median(share), rel=1e-4, abs=1e-5)


# DistributedDataParallel.


def test_replicas_are_recorded_as_one_model(replicated, alone):
    found = StoredRun(replicated / "all")
    assert_same_training(found, *alone())
    assert_same_steps(found, alone()[1])


def test_what_is_merged_is_within_the_error_that_it_states(replicated, alone):
    found = StoredRun(replicated / "sketched")
    assert_same_training(found, *alone(100 * ROWS))
    assert all((found.distribution("train", site, 1).w1_error > 0).all() for site in SITES), "nothing was reduced"
    assert found.distribution("train", "head", 1).values.shape[1] < 200


def test_a_compiled_replica_is_the_model_too(replicated, alone):
    assert_same_training(StoredRun(replicated / "compiled"), *alone())


def test_batches_between_exchanges_of_gradients_are_one_step(replicated):
    found = StoredRun(replicated / "accumulated")
    assert found.manifest["steps"] == STEPS // 2
    assert set(found.steps()["count"]) == {2 * ROWS // RANKS}
    assert found.distribution("train", "head", 1).count.tolist() == [STEPS * ROWS] * 4


def test_a_recorder_in_one_process_alone_waits_for_none(replicated, alone):
    found = StoredRun(replicated / "one")
    assert found.ranks == RANKS
    assert not found.finished, "the other process never began"
    assert [(window.first_step, window.last_step) for window in found.window_list] == [(n, n) for n in range(STEPS)]
    assert_same_steps(found, alone()[1], ranks=[0])


def test_windows_need_not_end_together(replicated, alone):
    found = StoredRun(replicated / "apart")
    assert found.finished
    assert_same_steps(found, alone()[1])
    in_windows = [
        found.distribution("train", "stem", window.index).count[0]
        for window in found.window_list
        if found.distribution("train", "stem", window.index)
    ]
    assert sum(in_windows) == STEPS * ROWS
    assert len(in_windows) > 2


def test_a_probe_is_replayed_by_one_process(replicated):
    found = StoredRun(replicated / "probe")
    assert found.phases == ["train", "probe", "probe-train"]
    assert len(found.window_list) == STEPS // 3
    for window in found.window_list:
        for phase in ("probe", "probe-train"):
            for site in found.sites:
                assert set(found.distribution(phase, site.name, window.index).count) == {10}
        assert set(found.distribution("train", "0", window.index).count) == {3 * ROWS}


def test_a_probe_that_would_wait_for_the_others_is_refused(replicated, sharded):
    folder, _ = sharded
    for rank in range(RANKS):
        assert "SyncBatchNorm" in (replicated / f"synchronised.{rank}").read_text()
        for name, kind in (("sharded", "FSDPNetwork"), ("split", "Linear")):
            reason = (folder / f"{name}.{rank}").read_text()
            assert kind in reason
            assert "waits for the other processes" in reason
    assert not (folder / "refused").exists()
    assert not (replicated / "synchronised").exists()


# Split over processes.


def test_sharded_parameters_change_nothing(sharded, alone):
    folder, _ = sharded
    assert_same_training(StoredRun(folder / "sharded"), *alone())
    assert_same_steps(StoredRun(folder / "sharded"), alone()[1])
    assert_same_steps(StoredRun(folder / "one"), alone()[1], ranks=[0])


@pytest.mark.parametrize("given", ["split", "plain"])
def test_units_that_are_split_are_left_out_and_told_of(given, sharded, alone):
    folder, stderr = sharded
    found, (_, steps) = StoredRun(folder / given), alone()
    assert [site.name for site in found.sites] == [site for site in SITES if ".up" not in site]
    for module in ("blocks.0.up", "blocks.1.up"):
        state, reason = ledger(found)[module]
        assert state == "failed"
        assert "split over processes" in reason
        assert f"icshift stopped recording {module}: " in stderr
    assert {state for module, (state, _) in ledger(found).items() if ".up" not in module} == {"observed"}
    for site in found.sites:
        every = values([tensor for tensors in steps[site.name] for tensor in tensors])
        recorded = found.distribution("train", site.name, 1)
        np.testing.assert_allclose(recorded.mean, every.mean(0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(recorded.std, every.std(0), rtol=1e-4, atol=1e-5)
