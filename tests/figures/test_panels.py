"""Which panels a fan has, and that their percentiles are those of the run's own series."""

from dataclasses import replace

import numpy as np
import pytest

from icshift.analysis.units import typical_unit, unit_series
from icshift.errors import SelectionError
from icshift.figures.panels import ALL, about, panels_of
from icshift.runs.format import STEP_QUANTILES


def quantiles(series):
    return series.sort_values("step")[[f"q{round(100 * p):02d}" for p in STEP_QUANTILES]].to_numpy()


def test_a_unit_is_its_series_of_steps(normed):
    run, page = normed
    [panel] = panels_of([(run, replace(page, sites=page.sites[:1]))], ["fc1"], "3")
    expected = unit_series(run, run.site("fc1"), 3, "train")
    assert panel.series.number.tolist() == expected["step"].tolist()
    np.testing.assert_allclose(panel.series.quantiles, quantiles(expected), rtol=1e-6)
    assert (panel.title, panel.subtitle) == ("fc1", "unit 3 · n = 20 a step")


def test_without_a_unit_it_is_the_typical_one_and_all_is_the_site(normed):
    run, page = normed
    typical, whole = (panels_of([(run, page)], None, unit)[0] for unit in (None, ALL))
    np.testing.assert_allclose(typical.series.quantiles, quantiles(typical_unit(run, "fc1")), rtol=1e-6)
    np.testing.assert_array_equal(whole.series.quantiles, page.sites[0].series.quantiles)
    assert whole.subtitle.startswith("medians over units")


def test_of_two_runs_the_last_hidden_layer_by_role(normed):
    run, page = normed
    panels = panels_of([(run, page), (run, replace(page, title="other"))], None, None)
    assert [panel.title for panel in panels] == ["normed: norm1 †", "other: norm1 †"]
    assert {panel.row for panel in panels} == {0}


def test_sites_that_are_named_are_rows(normed):
    run, page = normed
    panels = panels_of([(run, page)] * 2, ["fc*"], "1")
    assert [(panel.row, panel.title) for panel in panels[::2]] == [(0, "normed: fc1"), (1, "normed: fc2")]
    with pytest.raises(SelectionError, match="name sites with --site"):
        panels_of([(run, page)] * 2, ["nothing"], None)


def test_a_phase_without_steps_is_by_window(normed):
    run, page = normed
    bare = replace(page.sites[0].series, number=np.zeros(0, int), quantiles=np.zeros((0, 5)))
    probe = replace(page, phase="probe", sites=(replace(page.sites[0], series=bare),))
    [panel] = panels_of([(run, probe)], ["fc1"], "2")
    assert panel.over == "window"
    expected = [run.distribution("probe", "fc1", w.index).quantile(STEP_QUANTILES)[2] for w in page.windows]
    np.testing.assert_allclose(panel.series.quantiles, expected, rtol=1e-6)


@pytest.mark.parametrize("unit", ["8", "-1", "first"])
def test_a_unit_that_is_not_there_is_refused(normed, unit):
    run, page = normed
    with pytest.raises(SelectionError, match=rf"no unit {unit} in site fc1: it has units 0 to 7"):
        panels_of([(run, page)], ["fc1"], unit)


def test_what_is_shown_and_what_was_chosen_is_said(normed):
    _, page = normed
    assert about(page, "3", 1, named=True) == "normed · phase train · unit 3"
    assert about(page, ALL, 2, named=False) == "phase train · medians over units · sites chosen: --site names others"
