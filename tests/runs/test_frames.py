"""Frames of a run: sorted by site they are in model order, and they still go through all that pandas does."""

import pandas as pd
import pytest

import icshift
from icshift.runs.frames import in_model_order
from tests.recorded import of_zoo, site, write_run

NAMES = ["stem", "fc10", "fc2", "body.1", "body.0", "head"]
"""In model order, which is not that of the alphabet."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    sites = [site(name) for name in NAMES]
    windows = [{("train", name): of_zoo("normal", 300 + 10 * window) for name in NAMES} for window in range(3)]
    return icshift.open(
        write_run(tmp_path_factory.mktemp("frames") / "run", windows, names=["a", "b", "c"], sites=sites)
    )


FRAMES = {
    "windows": lambda run: run.windows(),
    "steps": lambda run: run.steps(),
    "drift": lambda run: run.drift(["w1", "ks"]),
    "report": lambda run: run.report(),
    "paths": lambda run: run.paths(),
    "unordered": lambda run: run.unordered(run.path),
    "of no site": lambda run: run.until(run.window("a")).drift(),
    "chosen": lambda run: run.drift(sites="body.*"),
}


@pytest.mark.parametrize("name", FRAMES)
def test_sorted_by_site_a_frame_is_in_model_order(run, name):
    frame = FRAMES[name](run)
    assert frame["site"].cat.ordered
    assert frame["site"].cat.categories.tolist() == NAMES
    shuffled = frame.sample(frac=1, random_state=3)
    present = [name for name in NAMES if name in set(frame["site"])]
    assert list(dict.fromkeys(shuffled.sort_values("site")["site"])) == present
    assert shuffled.groupby("site", observed=True).size().index.tolist() == present
    assert not {"std", "straight", "median"} & set(frame)


def test_frames_are_joined_and_merged(run):
    both = pd.concat([run.drift("w1"), run.drift("ks", sites="head")])
    assert both["site"].cat.categories.tolist() == NAMES
    merged = run.drift().merge(run.report()[["site", "n"]], on="site", suffixes=("", "_of_site"))
    assert merged["site"].cat.ordered
    assert len(merged) == len(run.drift())
    wide = run.drift().pivot_table(index="site", columns="window", values="value", observed=True)
    assert wide.index.tolist() == NAMES
    assert (run.drift()["site"] == "fc2").sum() == 6
    assert run.report().set_index("site").loc["fc2", "n"] == run.report()["n"].iloc[2]


def test_a_window_has_its_number_and_its_name(run):
    assert run.report()[["window", "name", "reference"]].drop_duplicates().values.tolist() == [[3, "c", "b"]]


@pytest.mark.some(1)
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_frames_are_written_and_read(run, suffix, tmp_path):
    frame, file = run.drift(), tmp_path / f"frame.{suffix}"
    write, read = (frame.to_csv, pd.read_csv) if suffix == "csv" else (frame.to_parquet, pd.read_parquet)
    write(file, index=False)
    assert read(file)["site"].astype(str).tolist() == frame["site"].astype(str).tolist()
    if suffix == "parquet":
        for tool, column in (("polars", "read_parquet"), ("duckdb", "read_parquet")):
            module = pytest.importorskip(tool)
            found = getattr(module, column)(str(file))
            found = found["site"].cast(module.String).to_list() if tool == "polars" else found.df()["site"].tolist()
            assert found == frame["site"].astype(str).tolist()


def test_a_frame_without_sites_stays_what_it_is():
    frame = pd.DataFrame({"layer": ["b", "a"]})
    assert in_model_order(frame, []) is frame
