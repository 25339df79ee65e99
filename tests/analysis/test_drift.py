"""The drift table: what every window is compared with, and its columns."""

import numpy as np
import pytest

from icshift.analysis.drift import COLUMNS, by_site, default_phase, drift
from icshift.analysis.floor import floor
from icshift.analysis.metrics import METRICS
from icshift.errors import RunError, SelectionError
from icshift.runs.reader import StoredRun
from tests.recorded import distribution, of_zoo, site, write_run
from tests.zoo.distributions import draw

MORE = ("error", "ratio", "near_constant", "moved", "activations")


def shifted_by(shift, seed=0, name="normal", n=300):
    return distribution(draw(name, n, seed=seed) + shift)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three windows; the means are 0, 1, 4 in train and 0.5 more in eval, which window 2 lacks; site b has window 1."""
    path = tmp_path_factory.mktemp("drift") / "run"
    windows = [{("train", "fc.a"): shifted_by(shift)} for shift in (0, 1, 4)]
    windows[0] |= {("eval", "fc.a"): shifted_by(0.5), ("train", "fc.b"): shifted_by(2)}
    windows[2] |= {("eval", "fc.a"): shifted_by(4.5)}
    write_run(path, windows, names=["epoch1", "epoch2", "epoch3"])
    return StoredRun(path)


def table(frame):
    """Window -> (reference, W1 of unit 0)."""
    first = frame[frame["unit"] == 0]
    return {
        window: (reference, round(value, 5))
        for window, reference, value in zip(first["window"], first["reference"], first["value"], strict=True)
    }


def test_previous(run):
    assert table(drift(run, metrics=["w1"])) == {2: ("epoch1", 1), 3: ("epoch2", 3)}


def test_previous_skips_windows_that_the_phase_lacks(run):
    assert table(drift(run, metrics=["w1"], phase="eval")) == {3: ("epoch1", 4)}


def test_first(run):
    assert table(drift(run, metrics=["w1"], reference="first")) == {2: ("epoch1", 1), 3: ("epoch1", 4)}


@pytest.mark.parametrize("reference", ["epoch2", "2", 2])
def test_named_window(run, reference):
    frame = drift(run, metrics=["w1"], reference=reference, sites=["fc.a"])
    assert table(frame) == {1: ("epoch2", 1), 3: ("epoch2", 3)}


def test_other_phase(run):
    assert table(drift(run, metrics=["w1"], reference="phase:eval")) == {1: ("phase:eval", 0.5), 3: ("phase:eval", 0.5)}


def test_other_run(run, tmp_path):
    other = write_run(tmp_path / "other", [{("train", "fc.a"): shifted_by(shift)} for shift in (7, 8)])
    label = f"paired-run:{other}"
    assert table(drift(run, metrics=["w1"], reference=label)) == {1: (label, 7), 2: (label, 7)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reference": "prevous"}, "no reference 'prevous'; did you mean previous"),
        ({"reference": "epoch9"}, "no reference 'epoch9'; did you mean epoch"),
        ({"reference": 9}, "no reference '9'"),
        ({"reference": "phase:evl"}, "no phase 'evl'; did you mean eval"),
        ({"reference": "phase:train"}, "phase itself"),
        ({"reference": "phase:"}, "no reference 'phase:'"),
        ({"phase": "tain"}, "no phase 'tain'; did you mean train"),
        ({"sites": ["fc.c"]}, "no site 'fc.c'; did you mean fc"),
        ({"sites": ["fc.a", "conv*"]}, r"no site 'conv\*'"),
        ({"metrics": ["w1", "w11"]}, "no metric 'w11'; did you mean"),
        ({"reference": "epoch2", "phase": "eval"}, "no reference 'epoch2'"),
    ],
    ids=str,
)
def test_unknown_names_are_refused_with_near_ones(run, options, message):
    with pytest.raises(SelectionError, match=message):
        drift(run, **options)


def test_other_run_must_be_there_and_have_the_phase(run, tmp_path):
    with pytest.raises(RunError, match="no such run"):
        drift(run, reference=f"run:{tmp_path / 'nowhere'}")
    other = write_run(tmp_path / "other", [{("probe", "fc.a"): shifted_by(0)}])
    with pytest.raises(SelectionError, match="no phase 'train'"):
        drift(run, reference=f"run:{other}")


@pytest.mark.parametrize("reference", ["previous", "first", "1"])
def test_one_window_has_no_drift(tmp_path, reference):
    run = StoredRun(write_run(tmp_path / "run", [{("train", "fc.a"): shifted_by(0)}]))
    frame = drift(run, reference=reference)
    assert frame.empty
    assert tuple(frame.columns) == (*COLUMNS, *MORE)
    assert list(by_site(run, reference=reference)) == []


def test_no_window_is_an_error(tmp_path):
    run = StoredRun(write_run(tmp_path / "run", [], sites=[site("fc.a")]))
    with pytest.raises(SelectionError, match="has no windows: nothing was recorded"):
        drift(run)


def test_default_phase_is_train_or_the_first_there_is(run, tmp_path):
    assert default_phase(run) == "train"
    probe = StoredRun(write_run(tmp_path / "run", [{("probe", "fc.a"): shifted_by(0)}]))
    assert default_phase(probe) == "probe"


def test_columns_say_what_the_metrics_say(tmp_path):
    draws = [shifted_by(shift, seed) for seed, shift in enumerate((0, 1, 4))]
    run = StoredRun(write_run(tmp_path / "run", [{("train", "fc.a"): one} for one in draws]))
    frame = drift(run, metrics=["w1", "psi"], sites=["fc.a"])
    assert tuple(frame.columns) == (*COLUMNS, *MORE)
    assert len(frame) == 2 * 2 * 3
    before, after = run.distribution("train", "fc.a", 2), run.distribution("train", "fc.a", 3)
    for name in ("w1", "psi"):
        rows = frame[(frame["metric"] == name) & (frame["window"] == 3)]
        one = METRICS[name]
        value, noise = one.function(before, after), floor(one, before, after)
        np.testing.assert_array_equal(rows["value"], value)
        np.testing.assert_array_equal(rows["floor"], noise)
        assert (noise > 0).all()
        np.testing.assert_allclose(rows["ratio"], value / noise)
        np.testing.assert_array_equal(rows["error"], [np.nan] * 3 if one.error is None else one.error(before, after))
        assert rows["unit"].tolist() == [0, 1, 2]
        assert set(rows["n"]) == {300}
        assert set(rows["run"]) == {"run"}
        assert set(rows["phase"]) == {"train"}
        assert set(rows["site"]) == {"fc.a"}


def test_n_is_that_of_the_smaller_window(tmp_path):
    windows = [{("train", "fc.a"): of_zoo("normal", n)} for n in (300, 6000, 200)]
    frame = drift(StoredRun(write_run(tmp_path / "run", windows)))
    assert frame.groupby("window")["n"].unique().map(list).to_dict() == {2: [300], 3: [200]}


def test_kept_units_keep_their_numbers(tmp_path):
    kept = site("fc.a", units=90, kept=(4, 17, 88))
    windows = [{("train", "fc.a"): shifted_by(shift)} for shift in (0, 1)]
    frame = drift(StoredRun(write_run(tmp_path / "run", windows, sites=[kept])))
    assert frame["unit"].tolist() == [4, 17, 88]


def test_near_constant_units_are_marked(tmp_path):
    def window(seed):
        values = draw("normal", 300, units=5, seed=seed).copy()
        values[3] = 2.0
        return {("train", "fc.a"): distribution(values)}

    frame = drift(StoredRun(write_run(tmp_path / "run", [window(0), window(1)])))
    assert frame["near_constant"].tolist() == [False, False, False, True, False]
    assert frame["value"][3] == 0


def test_a_unit_without_finite_values_is_not_called_near_constant(tmp_path):
    def window(seed, lost):
        values = draw("normal", 300, units=5, seed=seed).copy()
        values[lost] = np.nan
        return {("train", "fc.a"): distribution(values)}

    frame = drift(StoredRun(write_run(tmp_path / "run", [window(0, 1), window(1, 3)])))
    assert not frame["near_constant"].any()
    assert frame["value"].isna().tolist() == [False, True, False, True, False]


def test_moved_units_are_marked_whatever_the_metric(tmp_path):
    before, after = draw("normal", 2000, units=40), draw("normal", 2000, units=40, seed=1).copy()
    after[7] += 0.5
    windows = [{("train", "fc.a"): distribution(values, steps=40)} for values in (before, after)]
    frame = drift(StoredRun(write_run(tmp_path / "run", windows)), metrics=["w1_sd", "zero_share"])
    for name in ("w1_sd", "zero_share"):
        found = frame[frame["metric"] == name].set_index("unit")["moved"]
        assert found[7]
        assert found.sum() <= 3


def test_probes_move_beyond_the_error_alone(tmp_path):
    values = draw("normal", 300)
    moved = values.copy()
    moved[1] += 1e-4
    windows = [{("probe", "fc.a"): distribution(one, blocks=False)} for one in (values, values, moved)]
    frame = drift(StoredRun(write_run(tmp_path / "run", windows)))
    assert frame[frame["window"] == 2]["value"].tolist() == [0, 0, 0]
    assert frame[frame["window"] == 2]["moved"].tolist() == [False, False, False]
    assert frame[frame["window"] == 3]["moved"].tolist() == [False, True, False]
    assert (frame["floor"] == 0).all()
    assert frame["ratio"].isna().all()


def test_large_probe_is_not_moved_within_its_error(tmp_path):
    first, second = draw("normal", 20_000), np.random.default_rng(4).permuted(draw("normal", 20_000), axis=1)
    windows = [{("probe", "fc.a"): distribution(one, blocks=False)} for one in (first, second)]
    frame = drift(StoredRun(write_run(tmp_path / "run", windows)))
    assert (frame["value"] > 0).all()
    assert (frame["value"] <= frame["error"]).all()
    assert not frame["moved"].any()
