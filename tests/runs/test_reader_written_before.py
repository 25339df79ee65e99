"""A run of every format number, and of every kind of file there was, opens to what was read when it was written.

`written_by_0_1` (format 1) has tests of its own. The others are of one small training: `written_in_format_2`,
`written_in_format_3`, before files had checksums and runs an id, and `written_in_format_4`, put together of that, and
`written_in_format_5`, of which blocks are bytes.
"""

import shutil
from pathlib import Path

import pytest

import icshift
from icshift.runs.format import FORMAT
from icshift.runs.verify import verify
from tests.recorded import change_manifest

HERE = Path(__file__).parent
WRITTEN = {1: HERE / "written_by_0_1" / "run"}
LOSSES = [1.1045, 0.7052, 0.671, 0.7253, 0.8871, 0.6849, 0.6728, 0.7012, 0.7746]
WRITTEN |= {number: HERE / f"written_in_format_{number}" / "run" for number in range(2, FORMAT + 1)}


@pytest.mark.parametrize("number", WRITTEN)
def test_every_format_is_read_whole(number):
    """Every file is read, and nothing in it is taken for damage."""
    found = verify(WRITTEN[number])
    assert found.problems == ()
    assert (found.sealed, found.manifests_sealed) == ((5, 1) if number >= 4 else (0, 0))
    run = icshift.open(WRITTEN[number])
    assert run.manifest["format"] == number
    assert run.finished
    assert run.missing == ()
    assert run.ending.complete
    assert [site.units for site in run.sites] == [3, 3, 2]
    assert (len(run.steps()), len(run.smoothness()), len(run.gradient_shift())) == (72, 5 if number == 1 else 3, 15)


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_one_training_is_read_alike(number):
    """These formats hold the same training, recorded by two versions, or put together."""
    run = icshift.open(WRITTEN[number])
    train = run.windows().query("phase == 'train' and site == 'fc1' and window == 3")
    assert train["mean"].round(4).tolist() == [-0.5272, -0.3838, -0.235]
    assert run.steps("train", "fc1")["q50"].astype(float).round(3).tolist()[:3] == [-0.4, -0.496, -0.191]
    assert run.logged()["value"].round(4).tolist() == ([] if number == 2 else LOSSES)
    drift = run.drift(phase="train").query("site == 'fc1' and window == 3")
    assert drift["value"].round(4).tolist() == [0.0343, 0.0739, 0.0493]


def test_a_newer_format_is_refused_by_its_number(tmp_path):
    run = tmp_path / "run"
    shutil.copytree(WRITTEN[3], run)
    change_manifest(run / "run.json", format=FORMAT + 1)
    with pytest.raises(icshift.RunError, match=f"has format {FORMAT + 1}, this icshift reads up to {FORMAT}"):
        icshift.open(run)
