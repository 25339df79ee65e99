"""The trend of sites is what their windows show pair by pair, and takes as much reading and memory a window whatever
their number."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pyarrow.parquet as pq
import pytest

import icshift
from icshift.analysis.by_site import summary
from icshift.analysis.drift import by_site
from icshift.analysis.health import typical_std
from icshift.analysis.metrics import METRICS
from icshift.analysis.trends import trends
from icshift.analysis.yardstick import with_one_sd
from icshift.runs import shelf
from tests.recorded import distribution, site, write_run
from tests.zoo.distributions import draw

SITES = [site(f"fc{number}", 40) for number in range(20)]
WINDOWS = 12


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Many windows of small sites, which share row groups; the last site lacks some of them."""
    windows = []
    for window in range(WINDOWS):
        made = distribution(draw("normal", 40, 40, seed=window) * (1 + window % 3) + 0.1 * window)
        windows.append({("train", one.name): made for one in SITES[: -1 if window % 4 == 2 else None]})
    names = [str(number) for number in range(1, WINDOWS + 1)]
    return write_run(tmp_path_factory.mktemp("trends") / "run", windows, names=names, sites=SITES)


@pytest.mark.parametrize("reference", ["previous", "first"])
@pytest.mark.parametrize("name", ["w1_sd", "ks"])
def test_a_trend_is_what_windows_show_pair_by_pair(name, reference, path):
    run, metric = icshift.open(path), METRICS[name]
    compared = {one.name: each for one, each in by_site(run, reference=reference)}
    found = trends(run, metric, "train", SITES, compared)
    for one in ("fc0", "fc19"):
        there = [run.distribution("train", one, window.index) for window in run.window_list]
        known = [distribution for distribution in there if distribution is not None]
        pairs = [(a, b) for a, b in pairwise(there) if a is not None and b is not None]
        pairs = pairs if reference == "previous" else [(known[0], after) for after in known[1:]]
        one_sd = with_one_sd(metric, [pairs[0][0], *(after for _, after in pairs)])
        assert found[one].drifts == [np.median(np.abs(one_sd.function(*pair))) for pair in pairs]
        assert found[one].usual == max(map(typical_std, known[:-1]))


def test_a_report_reads_no_more_of_a_window_where_there_are_more(path, monkeypatch):
    """Nothing of other windows stays at hand."""
    read, found = pq.ParquetFile.read_row_groups, Counter()

    def noting(self, groups, columns, **options):
        found.update((id(self), tuple(columns), group) for group in groups)
        return read(self, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noting)
    monkeypatch.setattr("icshift.analysis.trends._FEW", 0)
    monkeypatch.setattr(shelf, "_KEPT_BYTES", 1 << 18)
    monkeypatch.setattr(shelf, "_KEPT_MOMENTS", 1 << 18)
    summary(icshift.open(path))
    values = [times for (_, columns, _), times in found.items() if columns == ("values",)]
    moments = [times for (_, columns, _), times in found.items() if "mean" in columns]
    assert len(values) >= 2 * WINDOWS
    # Of the last two windows the rows read values after the trend did; moments are read alone, with values, and of two
    # windows for noise.
    assert sum(values) <= len(values) + 2
    assert sum(moments) <= 2.5 * len(moments)


def test_of_a_comparison_nothing_stays_read(path):
    run = icshift.open(path)
    _, comparisons = next(by_site(run, sites=["fc0"]))
    assert [comparison.after.values.shape for comparison in comparisons] == [(40, 40)] * (WINDOWS - 1)
    assert "values" not in vars(comparisons[0].after)
