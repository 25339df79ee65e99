"""What `icshift export` writes, in which formats, and what it never replaces."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from icshift.analysis.drift import COLUMNS
from icshift.analysis.metrics import METRICS
from icshift.runs.format import Site, Window
from icshift.runs.writer import Recording
from tests.cli.measurements import AROUND, SHIFT
from tests.recorded import distribution


def test_the_table_is_tidy_in_every_format(two_windows, tmp_path, printed):
    tables = []
    for suffix, read in ((".csv", pd.read_csv), (".json", pd.read_json), (".parquet", pd.read_parquet)):
        path = tmp_path / f"drift{suffix}"
        printed("export", two_windows, "-o", path)
        tables.append(read(path))
    assert tuple(tables[0].columns[: len(COLUMNS)]) == COLUMNS
    for table in tables:
        assert set(table["metric"]) == {"w1", "w1_sd"}
        assert set(table["phase"]) == {"train", "eval", "probe"}
        assert len(table) == 2 * 3 * (8 + 3)
        np.testing.assert_allclose(table["value"], tables[0]["value"], rtol=1e-9)


def test_stdout_gets_csv(two_windows, tmp_path, printed):
    text = printed("export", two_windows, "-o", "-")
    printed("export", two_windows, "-o", tmp_path / "drift.csv")
    assert text == (tmp_path / "drift.csv").read_text()


def test_output_is_what_it_was(difference_from_golden):
    difference = difference_from_golden("export", "export", "run", "-o", "-", "--site", "fc1")
    assert not difference, difference


def test_all_metrics(two_windows, tmp_path, printed):
    printed("export", two_windows, "-o", tmp_path / "all.csv", "--metric", "all", "--phase", "train", "--site", "fc2")
    table = pd.read_csv(tmp_path / "all.csv")
    assert set(table["metric"]) == set(METRICS)
    assert set(table["site"]) == {"fc2"}
    assert len(table) == sum(1 if one.of == "site" else 3 for one in METRICS.values())
    assert table["value"].isna().tolist() == table["metric"].map(lambda name: METRICS[name].by_example).tolist()


def test_metrics_of_a_site_are_read_as_numbers(two_windows, command, tmp_path):
    path = tmp_path / "drift.csv"
    code, _, err = command("export", two_windows, "-o", path, "--metric", "all")
    assert (code, err.count(";")) == (0, 0)
    table = pd.read_csv(path)
    assert table["unit"].dtype.kind == "i"
    whole = table[table["unit"] == -1]
    assert set(whole["metric"]) == {"sliced_w2", "cka_distance"}
    assert whole["value"].notna().tolist() == (whole["phase"] == "probe").tolist()
    assert np.isfinite(whole["error"][(whole["phase"] == "probe") & (whole["metric"] == "sliced_w2")]).all()
    _, _, err = command("export", two_windows, "-o", path, "-f", "--metric", "cka_distance", "--phase", "train")
    assert "cka_distance without values" in " ".join(err.split())


def test_one_window_gives_the_header(one_window, tmp_path, printed):
    printed("export", one_window, "-o", tmp_path / "none.csv")
    assert tuple((tmp_path / "none.csv").read_text().strip().split(","))[: len(COLUMNS)] == COLUMNS


def test_it_never_overwrites_silently(two_windows, tmp_path, command):
    path = tmp_path / "drift.csv"
    path.write_text("mine")
    code, out, err = command("export", two_windows, "-o", path)
    assert (code, out, path.read_text()) == (2, "", "mine")
    assert "--force" in err
    assert command("export", two_windows, "-o", path, "--force")[0] == 0
    assert path.read_text().startswith("run,phase")


def test_quiet_says_nothing(two_windows, tmp_path, command):
    assert command("export", two_windows, "-o", tmp_path / "drift.csv", "-q") == (0, "", "")
    assert "rows" in command("export", two_windows, "-o", tmp_path / "other.csv")[2]


MISTAKES = {
    "unknown format": (["-o", "drift.xls"], "no export format '.xls'"),
    "no such directory": (["-o", "nowhere/drift.csv"], "there is no directory nowhere"),
    "nowhere to write": (["-o", "/proc/drift.csv"], "/proc/drift.csv cannot be written"),
    "no output": ([], "--output"),
    "a table that there is not": (["-o", "x.csv", "--table", "landscape"], "'landscape' is not one of"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_end_in_one_line(mistake, two_windows, refused):
    options, expected = MISTAKES[mistake]
    assert expected in refused("export", two_windows, *options)


@pytest.mark.parametrize("output", ["-", "x.csv"])
def test_a_run_without_windows_is_one_line(output, tmp_path, refused):
    Recording(tmp_path / "run", {"sites": [asdict(Site("fc1", "Linear", axis=1, units=3))]})
    assert "no windows yet" in refused("export", tmp_path / "run", "-o", output)


def test_a_reference_phase_that_is_the_only_one_is_one_line(tmp_path, refused):
    site = Site("fc1", "Linear", axis=1, units=3)
    recording = Recording(tmp_path / "run", {"sites": [asdict(site)]})
    recording.write_window(Window(1, "1", 0, 9, True), {("train", site): distribution(np.ones((3, 10)))})
    assert "is the phase itself" in refused("export", tmp_path / "run", "-o", "-", "--reference", "phase:train")


# What was measured with gradients


@pytest.mark.parametrize(("table", "rows"), [("gradient-shift", SHIFT), ("smoothness", AROUND)])
def test_measurements_are_tables_of_their_own(table, rows, with_measurements, tmp_path, command):
    path = tmp_path / "table.csv"
    code, _, err = command("export", with_measurements, "--table", table, "-o", path)
    assert code == 0
    assert f"{len(rows)} rows" in err
    written = pd.read_csv(path)
    pd.testing.assert_frame_equal(written[list(rows[0])], pd.DataFrame(rows))
    assert set(written) - set(rows[0]) == ({"relative"} if table == "gradient-shift" else set())


def test_of_what_was_not_measured_no_file_is_written(two_windows, tmp_path, command):
    code, out, err = command("export", two_windows, "--table", "smoothness", "-o", tmp_path / "table.csv")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "recorder.smoothness(closure) was not called" in err
    assert not (tmp_path / "table.csv").exists()


def test_what_chooses_among_drifts_chooses_nothing_else(with_measurements, refused):
    asked = "export", with_measurements, "--table", "smoothness", "--metric", "w1", "-o", "t.csv"
    assert "smoothness has none of them" in refused(*asked)
