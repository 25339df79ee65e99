"""The page of a real run says what `icshift report` says, in every window."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

from icshift.analysis.by_site import summary
from icshift.analysis.drift import drift
from icshift.analysis.metrics import METRICS
from icshift.distribution import empty
from icshift.errors import SelectionError
from icshift.page import look
from icshift.page.build import Asked, outline_of, page_of
from icshift.runs import shelf
from icshift.runs.format import Site
from icshift.runs.reader import StoredRun
from tests.recorded import distribution
from tests.reports.shown import run_of
from tests.zoo.distributions import draw

ASKED = Asked(METRICS["w1_sd"], "previous", None, None, "icshift report run -o run.html")


@pytest.fixture(scope="module")
def run(with_batch_norm):
    return StoredRun(with_batch_norm)


@pytest.fixture(scope="module")
def page(run):
    return page_of(run, ASKED)


def test_the_last_window_is_that_of_the_report(run, page):
    table = summary(run)
    assert [site.name for site in page.sites] == table["site"].tolist()
    for name, column in (("drift", "drift"), ("floor", "floor"), ("ratio", "ratio"), ("moved", "moved")):
        found = [getattr(site, name)[-1] for site in page.sites]
        np.testing.assert_allclose(found, table[column], rtol=1e-6)
    assert [site.n for site in page.sites] == table["n"].tolist()
    assert [site.constant[-1] for site in page.sites] == table["near_constant"].tolist()


def test_every_window_has_its_drift_and_the_first_has_none(run, page):
    drifts = drift(run)
    for site in page.sites:
        here = drifts[(drifts["site"] == site.name) & ~drifts["near_constant"]]
        expected = here.groupby("window")["value"].median()
        np.testing.assert_allclose(site.drift[1:], expected.to_numpy(), rtol=1e-6)
        assert np.isnan(site.drift[0])
        assert site.codes[0] == look.ABSENT


def test_units_are_in_the_order_of_their_largest_ratio(run, page):
    drifts = drift(run)
    for site in page.sites:
        here = drifts[(drifts["site"] == site.name) & ~drifts["near_constant"]]
        worst = here.groupby("unit")["ratio"].max().sort_values(ascending=False)
        np.testing.assert_allclose(site.units.worst[: len(worst)], worst, rtol=1e-5)
        assert (np.diff(site.units.worst) <= 0).all()
        first = here[here["unit"] == site.units.ids[0]].sort_values("ratio").iloc[-1]
        assert run.window_list[site.units.worst_window[0]].index == first["window"]


def test_a_unit_that_did_not_move_has_no_colour(run, page):
    drifts = drift(run)
    for site in page.sites:
        here = drifts[drifts["site"] == site.name]
        for place, unit in enumerate(site.units.ids):
            rows = here[here["unit"] == unit].sort_values("window")
            above = site.units.codes[place, 1:] >= look.LOWEST
            moved = rows["moved"].fillna(True).to_numpy(bool) & (rows["ratio"] > 1).to_numpy()
            assert (above == moved).all()


def test_percentiles_and_densities_are_those_of_the_windows(run, page):
    site = page.sites[0]
    recorded = run.distribution("train", site.name, 3)
    for place, fan in zip(site.fans.places, site.fans.quantiles, strict=True):
        unit = site.units.ids[place]
        np.testing.assert_allclose(fan[2], recorded.quantile([0.05, 0.15, 0.5, 0.85, 0.95])[unit], rtol=1e-6)
    assert (site.densities.heights.max((1, 2)) == 15).all()
    low, high = site.densities.edges[0]
    unit = site.units.ids[site.densities.places[0]]
    assert recorded.min[unit] <= high
    assert recorded.max[unit] >= low
    middle = (np.arange(32) + 0.5) / 32 * (high - low) + low
    share = site.densities.heights[0, 2] / site.densities.heights[0, 2].sum()
    assert share @ middle == pytest.approx(recorded.mean[unit], abs=0.1 * recorded.std[unit])


def test_words_come_first_and_the_command_is_the_one_that_was_typed(page):
    assert "left the band" in page.sentences[0]
    assert any("moved" in words.lower() for words in page.sentences)
    assert page.command == "icshift report run -o run.html"
    assert dict(page.facts)["Cost"].endswith("MB")
    assert [table.name for table in page.tables] == [
        "Sites in the last window",
        "When sites left the band of their past",
    ]


def test_its_notes_explain_no_column_that_its_tables_lack(page, one_window):
    assert any(note.startswith("floor: ") for note in page.notes)
    assert not any(note.startswith(("trend: ", "loc scl shp: ", "count, on wide")) for note in page.notes)
    assert not any("this is its distribution" in note for note in page_of(StoredRun(one_window), ASKED).notes)


def test_a_probe_has_no_floor_and_nothing_is_said_of_chance(run):
    page = page_of(run, replace(ASKED, phase="probe"))
    assert not page.scale.of_floor
    assert all(np.isfinite(site.drift[1:]).all() for site in page.sites)
    assert not any("floor:" in note for note in page.notes)
    assert page.sites[0].series.quantiles.shape == (0, 5)
    assert page.sites[0].onset_unknown == "no series of steps was recorded in phase probe"
    assert "floor" not in page.tables[0].columns


def test_one_window_is_a_page_too(one_window):
    page = page_of(StoredRun(one_window), ASKED)
    assert "One window: nothing to compare." in page.sentences
    assert {int(code) for site in page.sites for code in site.codes} == {look.ABSENT}
    assert all(len(site.units.ids) for site in page.sites)


def test_a_page_of_a_site_that_the_window_before_lacks_does_not_say_one_window(tmp_path):
    one = distribution(draw("normal", 30))
    windows = [{("train", name): one for name in ("fc1", "fc2")[: at % 2 + 1]} for at in range(1, 4)]
    run = run_of(tmp_path / "run", windows, sites=[Site(name, "Linear", 1, 3) for name in ("fc1", "fc2")])
    said = page_of(run, replace(ASKED, sites=["fc2"]))
    assert "Nothing to compare." in said.sentences
    assert any("nothing in window epoch 2 to compare window epoch 3 with" in note for note in said.notes)


def test_the_outline_is_the_page_without_pictures(run, page):
    outline = outline_of(run, ASKED)
    assert outline.sentences == page.sentences
    assert outline.tables == page.tables
    for without, site in zip(outline.sites, page.sites, strict=True):
        np.testing.assert_array_equal(without.units.codes, site.units.codes)
        np.testing.assert_array_equal(without.series.quantiles, site.series.quantiles)
        assert len(site.fans.places) == len(site.densities.places) > 0
        assert len(without.fans.places) == len(without.densities.places) == 0


def test_sites_are_chosen_by_glob_and_judged_together_all_the_same(run, page):
    only = page_of(run, replace(ASKED, sites=["fc*"]))
    assert [site.name for site in only.sites] == ["fc1", "fc2"]
    np.testing.assert_array_equal(only.sites[1].moved, page.sites[2].moved)
    assert only.sites[1].onset == page.sites[2].onset


@pytest.mark.parametrize("name", ["cka_distance", "displacement"])
def test_metrics_without_units_or_floors_by_example_are_refused(run, name):
    with pytest.raises(SelectionError, match="a page shows metrics of units"):
        page_of(run, replace(ASKED, metric=METRICS[name]))


def test_what_is_not_finite_constant_or_missing_is_told_apart(tmp_path):
    random = np.random.default_rng(0)
    usual = random.normal(size=(3, 512)).astype("f4")
    gone, still = np.full((3, 512), np.nan, "f4"), np.ones((3, 512), "f4")
    names = ("fine", "gone", "still", "late", "silent")
    sites = [Site(name, "Linear", 1, 3) for name in names]
    windows = [
        {("train", "fine"): usual, ("train", "gone"): usual, ("train", "still"): still},
        {("train", "fine"): usual + 1, ("train", "gone"): gone, ("train", "still"): still, ("train", "late"): usual},
    ]
    made = [{key: distribution(values) for key, values in window.items()} for window in windows]
    made[0]["train", "silent"], made[1]["train", "silent"] = empty(3), distribution(usual)
    page = page_of(run_of(tmp_path / "run", made, sites=sites), ASKED)
    codes = {site.name: int(site.codes[1]) for site in page.sites}
    assert codes["fine"] >= look.LOWEST
    assert (codes["gone"], codes["still"], codes["late"]) == (look.NOT_FINITE, look.CONSTANT, look.ABSENT)
    assert codes["silent"] == look.ABSENT
    assert (page.sites[4].units.codes == look.ABSENT).all()
    assert [site.nonfinite[1] for site in page.sites] == [0, 3, 0, 0, 0]
    assert (page.sites[1].units.codes[:, 1] == look.NOT_FINITE).all()
    assert (page.sites[2].units.codes[:, 1] == look.CONSTANT).all()


def test_what_is_kept_of_a_site_is_read_once(with_batch_norm, monkeypatch):
    """Nothing stays at hand between reads here: all parts of the page take what a site has while it is its turn."""
    monkeypatch.setattr(shelf, "_KEPT_BYTES", 1)
    monkeypatch.setattr(shelf, "_KEPT_MOMENTS", 1)
    read, found = pq.ParquetFile.read_row_groups, Counter()

    def noting(self, groups, columns, **options):
        found[id(self), tuple(columns)] += 1
        return read(self, groups, columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", noting)
    run = StoredRun(with_batch_norm)
    page_of(run, ASKED)
    assert len(found) > 3
    for (_, columns), times in found.items():
        # All sites of a window are judged together before, by blocks and by whether float32 resolves what they hold,
        # and blocks and tails are compared with the moments.
        most = 2 if "block_slices" in columns else 5 if "count" in columns else 1
        assert times <= len(run.sites) * most, columns
