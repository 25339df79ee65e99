"""What several processes wrote of a window is merged site by site, when it is asked for."""

from dataclasses import asdict

import pytest

from icshift.errors import RunError
from icshift.runs import together
from icshift.runs.format import Window
from icshift.runs.reader import StoredRun
from icshift.runs.together import Together
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import distribution, of_zoo, site
from tests.zoo.distributions import draw

RANKS = 3


def recorded(path, sizes, windows=2):
    """A run of several processes with a site of each of these sizes, of which the last process lacks the first."""
    sites = [site(f"s{place}", units) for place, units in enumerate(sizes)]
    for rank in range(RANKS):
        own = sites[rank == RANKS - 1 :]
        recording = Recording(path, {"sites": [asdict(one) for one in sites]}, rank=rank, ranks=RANKS)
        for index in range(1, windows + 1):
            parts = {
                ("train", one): distribution(draw("normal", 200 + rank, one.units, 100 * index + 10 * rank + place))
                for place, one in enumerate(own)
            }
            recording.write_window(Window(index, str(index), index, index, closed=True), parts)
        recording.finish({})
    return path


@pytest.mark.parametrize("rows", [1, 7, 1 << 10])
def test_site_by_site_it_is_what_it_is_as_a_whole(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(together, "_ROWS", rows)
    path = recorded(tmp_path / "run", (3, 5, 1, 300, 2))
    whole, run = StoredRun(path), StoredRun(path)
    for index in (2, 1):
        assert set(run._of(index)) == set(whole._load(index))
        for key, expected in reversed(whole._load(index).items()):
            laws.assert_identical(run.distribution(*key, index), expected)
        assert isinstance(run._of(index), Together)
        assert len(run._of(index)) == 5
    assert not run._loaded


def test_only_what_is_asked_for_is_merged_and_that_once(tmp_path, monkeypatch):
    path = recorded(tmp_path / "run", (300, 1200, 4, 4, 4))
    run, merged = StoredRun(path), []

    def counted(where, parts):
        merged.append(where.name)
        return original(where, parts)

    original = together.merged_distribution
    monkeypatch.setattr(together, "merged_distribution", counted)
    for _ in range(2):
        assert run.distribution("train", "s2", 1).units == 4
        assert merged == ["s2", "s3", "s4"]  # Which lie in one row group.
    assert run.distribution("train", "nowhere", 1) is None
    assert run.distribution("train", "s2", 9) is None


def test_a_window_that_may_change_is_read_as_a_whole(tmp_path):
    path = recorded(tmp_path / "run", (3,))
    recording = Recording.reopened(path, {"sites": [asdict(site("s0", 3))]}, rank=1, ranks=RANKS)
    for closed in (False, True):
        recording.write_window(Window(2, "2", 2, 2, closed=closed), {("train", site("s0")): of_zoo("normal", 7)})
        run = StoredRun(path)
        assert run.distribution("train", "s0", 2).units == 3
        assert (2 in run._loaded) is not closed


@pytest.mark.parametrize("rank", [0, 2])
def test_what_is_damaged_is_told_by_its_file(rank, tmp_path):
    path = recorded(tmp_path / "run", (3, 2000))
    file = path / "windows" / f"000002.rank{rank}.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    run = StoredRun(path)
    with pytest.raises(RunError, match=f"000002.rank{rank}"):
        run.distribution("train", "s1", 2)
    assert run.distribution("train", "s1", 1) is not None
