"""Laws of what is written and read again, on windows that hypothesis chooses: nothing is lost, whoever wrote it."""

import tempfile
from dataclasses import asdict
from functools import reduce
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from icshift.runs.format import Window
from icshift.runs.pooling import pooled
from icshift.runs.reader import StoredRun
from icshift.runs.verify import verify
from icshift.runs.writer import Recording
from tests import laws
from tests.covering import often
from tests.recorded import distribution, probe, site

few = settings(max_examples=often(10, 200), derandomize=True, deadline=None, database=None)

NAMES = ("a", "layers.0.fc", "é\n\x1b[0m", "…" * 40)


def values(seed, units, n, *, odd=False):
    chance = np.random.default_rng(seed)
    found = chance.normal(size=(units, n)) * chance.choice((1e-20, 1.0, 1e20))
    if odd:
        found[chance.random(found.shape) < 0.1] = chance.choice((np.nan, np.inf, 0.0))
    return found


@st.composite
def windows(draw, *, most_ranks=1):
    """By rank: windows, each of a distribution by phase and site, and the sites; ranks saw other rows of the same."""
    ranks, count, seed = draw(st.integers(1, most_ranks)), draw(st.integers(1, 3)), draw(st.integers(0, 2**31))
    sites = [
        site(name, draw(st.integers(1, 4))) for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))
    ]
    sizes = st.sampled_from((1, 7, 300, 900))
    written = [
        [
            {
                ("train", one): distribution(values([seed, rank, index, place], one.units, draw(sizes), odd=True))
                for place, one in enumerate(sites)
            }
            for index in range(count)
        ]
        for rank in range(ranks)
    ]
    for index, window in enumerate(written[0]):
        window["probe", sites[0]] = probe(values([seed, 99, index], sites[0].units, 40))
    return written, sites


def write(path, written, sites):
    for rank, own in enumerate(written):
        recording = Recording(path, {"sites": [asdict(one) for one in sites]}, rank=rank, ranks=len(written))
        for index, window in enumerate(own, 1):
            recording.write_window(Window(index, str(index), 8 * index - 8, 8 * index - 1, closed=True), window)
        recording.finish({})
    return path


@few
@given(windows())
def test_what_is_read_is_what_was_written(given):
    written, sites = given
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "run", written, sites)
        run = StoredRun(path)
        for index, window in enumerate(written[0], 1):
            for (phase, one), expected in window.items():
                laws.assert_identical(run.distribution(phase, one.name, index), expected)
        assert verify(path).problems == ()


@few
@given(windows(most_ranks=4))
def test_what_several_wrote_is_what_they_saw_together(given):
    written, sites = given
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "run", written, sites)
        for merged in (False, True):
            run = StoredRun(path)
            for index in range(1, len(written[0]) + 1):
                for one in sites:
                    parts = [own[index - 1]["train", one] for own in written]
                    found = run.distribution("train", one.name, index)
                    laws.assert_identical(found, pooled(parts) if len(parts) > 1 else parts[0])
                    for name in ("count", "nonfinite", "sampled"):
                        total = reduce(np.add, [getattr(part, name) for part in parts])
                        np.testing.assert_array_equal(getattr(found, name), total)
            if not merged:
                list(StoredRun(path).merge())
