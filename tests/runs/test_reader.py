"""Windows written by the recording come back bit for bit, and what is no run is refused."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from icshift.distribution import EXAMPLES
from icshift.errors import RunError, SelectionError
from icshift.runs.format import FORMAT, MANIFEST, QUANTILE_COLUMNS, STEP_QUANTILES, Site, Window, kept_units
from icshift.runs.frames import FILED
from icshift.runs.reader import StoredRun, locate
from icshift.runs.writer import Recording
from tests import laws
from tests.recorded import change_manifest, change_table, distribution, of_zoo, probe, site, write_run
from tests.runs.test_merging import change, merged_ranks
from tests.zoo.distributions import ZOO, draw


def one_window(path, **options):
    return write_run(path, [{("train", "a"): of_zoo("normal", 300)}], **options)


@pytest.mark.some(6)
@pytest.mark.covering(1)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 300, 6000])
@pytest.mark.parametrize("name", ZOO)
def test_round_trip(tmp_path, name, n, dtype):
    written = of_zoo(name, n, dtype=dtype)
    laws.assert_identical(
        StoredRun(write_run(tmp_path / "run", [{("train", "a"): written}])).distribution("train", "a", 1), written
    )


def test_round_trip_of_a_probe(tmp_path):
    written = distribution(draw("normal", 300), blocks=False)
    found = StoredRun(write_run(tmp_path / "run", [{("probe", "a"): written}])).distribution("probe", "a", 1)
    assert found.blocks is None
    laws.assert_identical(found, written)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["normal", "with_nan", "with_inf"])
def test_round_trip_of_examples(tmp_path, name, dtype):
    """Among sites that have none, or others."""
    written = {("probe", "a"): probe(draw(name, 300), dtype=dtype), ("probe", "b"): probe(draw("normal", 7, units=5))}
    written |= {("train", "a"): of_zoo(name, 300, dtype=dtype), ("eval", "b"): of_zoo("normal", 9, units=5)}
    run = StoredRun(write_run(tmp_path / "run", [written]))
    for (phase, place), one in written.items():
        found = run.distribution(phase, place, 1)
        assert (found.examples is None) == (one.examples is None)
        if one.examples is not None:
            np.testing.assert_array_equal(found.examples, one.examples)
    assert run.distribution("probe", "a", 1).examples.shape == (3, EXAMPLES)


def test_files_without_examples_are_read(tmp_path):
    path = write_run(tmp_path / "run", [{("probe", "a"): probe(draw("normal", 300))}])
    file = next((path / "windows").iterdir())
    change_table(file, lambda table: table.drop_columns(["paired_values"]))
    found = StoredRun(path).distribution("probe", "a", 1)
    assert found.examples is None
    np.testing.assert_array_equal(found.values, distribution(draw("normal", 300), blocks=False).values)


def test_round_trip_of_unlike_sites_in_one_window(tmp_path):
    written = {
        ("train", "b"): of_zoo("relu", 6000, units=5),
        ("train", "a"): of_zoo("normal", 300, units=3),
        ("eval", "a"): of_zoo("with_nan", 7, units=3),
        ("probe", "b"): distribution(draw("lognormal", 900, units=5), blocks=False),
    }
    run = StoredRun(write_run(tmp_path / "run", [written]))
    for (phase, name), one in written.items():
        laws.assert_identical(run.distribution(phase, name, 1), one)


def test_sites_of_either_precision_share_a_window(tmp_path):
    single, double = of_zoo("normal", 300), of_zoo("student_t3", 300, dtype=np.float64)
    run = StoredRun(write_run(tmp_path / "run", [{("train", "a"): single, ("train", "b"): double}]))
    np.testing.assert_array_equal(run.distribution("train", "a", 1).values, single.values)
    laws.assert_identical(run.distribution("train", "b", 1), double)


def test_files_of_windows_have_one_schema(tmp_path):
    path = write_run(tmp_path / "run", [{("train", "a"): of_zoo(name, 300)} for name in ("normal", "with_nan")])
    first, second = (pq.read_schema(file).remove_metadata() for file in sorted((path / "windows").iterdir()))
    assert first.equals(second)


def test_windows_phases_and_sites_come_back_in_order(tmp_path):
    one = of_zoo("normal", 7)
    windows = [{("train", "b"): one}, {("train", "b"): one, ("eval", "a"): one}]
    run = StoredRun(write_run(tmp_path / "run", windows, names=["warmup", "rest"], sites=[site("b"), site("a")]))
    assert run.window_list == [Window(1, "warmup", 0, 9, closed=True), Window(2, "rest", 10, 19, closed=True)]
    assert run.phases == ["train", "eval"]
    assert run.sites == [site("b"), site("a")]
    assert run.name == "run"
    assert run.finished
    assert run.distribution("eval", "a", 1) is None
    assert run.distribution("train", "a", 9) is None
    assert run.window("rest") == run.window(2) == run.window("2") == run.window_list[1]


def test_every_field_of_a_site_comes_back(tmp_path):
    whole = Site("n", "LayerNorm", 2, 90, (4, 8, 88), True, True, ("ReLU", "Tanh"), "fc")
    assert StoredRun(write_run(tmp_path / "run", [], sites=[whole])).sites == [whole]
    assert kept_units(whole).tolist() == [4, 8, 88]
    assert kept_units(site("a")).tolist() == [0, 1, 2]


def test_fields_of_a_newer_minor_version_are_ignored(tmp_path):
    path = one_window(tmp_path / "run")
    sites = json.loads((path / MANIFEST).read_text())["sites"]
    change_manifest(path / MANIFEST, sites=[{**sites[0], "mood": "good"}], weather="fine")
    assert StoredRun(path).sites == [site("a")]


@pytest.mark.parametrize(
    "ask", [lambda run: run.site("fc.wait"), lambda run: run.window("epoc1"), lambda run: run.phase("trian")]
)
def test_unknown_names_are_refused_with_near_ones(tmp_path, ask):
    run = StoredRun(write_run(tmp_path / "run", [{("train", "fc.weight"): of_zoo("normal", 7)}], names=["epoch1"]))
    with pytest.raises(SelectionError, match=r"did you mean (fc\.weight|epoch1|train)"):
        ask(run)


def test_what_a_killed_writer_left_is_ignored(tmp_path):
    path = one_window(tmp_path / "run")
    for folder, name in (("windows", ".000002.rank0.parquet.123"), ("steps", ".000000.rank0.parquet.123")):
        (path / folder / name).write_bytes(b"PAR1 half a fi")
    shutil.copy(next((path / "windows").glob("0*")), path / "windows" / ".000003.rank0.parquet")
    (path / ".run.json.123").write_text('{"format"')
    run = StoredRun(path)
    assert [window.index for window in run.window_list] == [1]
    assert run.steps().empty


def test_unfinished_run_is_readable(tmp_path):
    recording = Recording(tmp_path / "run", {"sites": [asdict(site("a"))]})
    window = Window(1, "1", 0, 4, closed=False)
    recording.write_window(window, {("train", site("a")): of_zoo("normal", 7)})
    run = StoredRun(tmp_path / "run")
    assert not run.finished
    assert run.window_list == [window]


def test_window_of_several_ranks_spans_them_all(tmp_path):
    for rank, (first, last, closed) in enumerate(((3, 12, True), (2, 9, False), (4, 13, True))):
        recording = Recording(tmp_path / "run", {"sites": [asdict(site("a"))]}, rank=rank, ranks=3)
        recording.write_window(Window(1, "e", first, last, closed), {("train", site("a")): of_zoo("normal", 7)})
    assert StoredRun(tmp_path / "run").window_list == [Window(1, "e", 2, 13, closed=False)]


def two_in(path):
    one_window(path / "b")
    one_window(path / "a")


def ten_in(path):
    for number in range(10):
        one_window(path / f"run{number}")


def deeper(path):
    one_window(path / "more" / "run")


def damaged_in(path):
    broken_json(path / "run")


def test_the_only_run_in_a_directory_is_taken(tmp_path):
    inner = one_window(tmp_path / "output" / "run")
    (tmp_path / "output" / "checkpoints").mkdir()
    (tmp_path / "output" / "log.txt").write_text("hello")
    assert locate(tmp_path / "output") == locate(inner) == inner
    run = StoredRun(str(tmp_path / "output"))
    assert run.path == inner
    assert run.name == "run"
    laws.assert_identical(run.distribution("train", "a", 1), of_zoo("normal", 300))


def test_a_run_that_holds_runs_is_taken_itself(tmp_path):
    one_window(tmp_path / "run")
    two_in(tmp_path / "run")
    assert StoredRun(tmp_path / "run").path == tmp_path / "run"


def nothing(_):
    pass


def no_run(path):
    path.mkdir()


def is_file(path):
    path.write_text("hello")


def broken_json(path):
    one_window(path)
    (path / MANIFEST).write_text('{"format": 1, ')


def binary_manifest(path):
    one_window(path)
    (path / MANIFEST).write_bytes(b"\xff\xfe\x00\x80")


def manifest_is_a_list(path):
    one_window(path)
    (path / MANIFEST).write_text("[1]")


def without_format(path):
    one_window(path)
    (path / MANIFEST).write_text('{"sites": []}')


def without_sites(path):
    one_window(path)
    (path / MANIFEST).write_text('{"format": 1}')


def site_without_units(path):
    one_window(path)
    (path / MANIFEST).write_text('{"format": 1, "finished": true, "sites": [{"name": "a"}]}')


def newer_format(path):
    one_window(path)
    (path / MANIFEST).write_text(json.dumps({"format": FORMAT + 1}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nothing, "no such run"),
        (no_run, f"no icshift run: it has no {MANIFEST}"),
        (deeper, f"no icshift run: it has no {MANIFEST}"),
        (damaged_in, f"no icshift run: it has no {MANIFEST}"),
        (two_in, "holds 2 runs: a, b; give one of them"),
        (ten_in, "holds 10 runs: run0, run1, run2, run3, run4, run5, run6, run7, and 2 more; give one of them"),
        (is_file, "no icshift run"),
        (broken_json, "cannot be read as JSON"),
        (binary_manifest, "cannot be read as JSON"),
        (manifest_is_a_list, "names no format"),
        (without_format, "names no format"),
        (without_sites, "sites"),
        (site_without_units, "sites"),
        (newer_format, f"has format {FORMAT + 1}, this icshift reads up to {FORMAT}"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, damage, message):
    path = tmp_path / "some_run"
    damage(path)
    with pytest.raises(RunError, match=message) as caught:
        StoredRun(path)
    assert str(path) in str(caught.value)


@pytest.mark.some(10)
@pytest.mark.parametrize(
    "changes",
    [
        "{",
        "[1]",
        "{}",
        {"format": FORMAT + 1},
        {"sites": None},
        {"sites": [{"name": "a"}]},
        {"sites": ["a"]},
        {"ledger": 3},
        {"ledger": [{"module": "a"}]},
        {"ranks": "two"},
        {"step_stride": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("rank", [0, 1])
def test_damaged_manifest_is_named_in_one_line(tmp_path, rank, changes):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 7), of_zoo("normal", 7)])
    file = path / ("run.rank1.json" if rank else MANIFEST)
    if isinstance(changes, str):
        file.write_text(changes)
    else:
        change(path, rank, **changes)
    with pytest.raises(RunError) as caught:
        StoredRun(path)
    assert str(caught.value).startswith(f"{file} ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shared", [True, False])
def test_shards_of_unlike_width_are_refused(tmp_path, shared):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300, units=units) for units in (3, 4, 4)])
    if not shared:
        (path / "windows" / "000001.rank0.parquet").unlink()
    told = [f"3 in {path}/windows/000001.rank0.parquet"] * shared + [f"4 in {path}/windows/000001.rank"]
    for ask in (lambda run: run.distribution("train", "a", 1), StoredRun.windows):
        with pytest.raises(RunError) as caught:
            ask(StoredRun(path))
        for words in ("site 'a' has 3 units", "tensor parallel", "a path of its own", *told):
            assert words in str(caught.value)
        assert "\n" not in str(caught.value)


def empty_file(file):
    file.write_bytes(b"")


def garbage(file):
    file.write_bytes(b"PAR1 this is no table PAR1")


def cut(file):
    file.write_bytes(file.read_bytes()[:-40])


def overwritten_footer(file):
    whole = file.read_bytes()
    file.write_bytes(whole[:-200] + b"\xff" * 150 + whole[-50:])


def overwritten_data(file):
    whole = file.read_bytes()
    file.write_bytes(whole[:4] + b"\xff" * 400 + whole[404:])


def without_metadata(file):
    change_table(file, lambda table: table, {})


def metadata_is_no_json(file):
    change_table(file, lambda table: table, {b"icshift": b"{"})


def metadata_lacks_a_field(file):
    change_table(file, lambda table: table, {b"icshift": b'{"index": 1}'})


def lacks_a_column(file):
    change_table(file, lambda table: table.drop_columns(["values"]))


DAMAGE = (empty_file, garbage, cut, overwritten_footer, overwritten_data, lacks_a_column)
OF_METADATA = (without_metadata, metadata_is_no_json, metadata_lacks_a_field)


@pytest.mark.some(8)
@pytest.mark.parametrize("damage", [*DAMAGE, *OF_METADATA])
@pytest.mark.parametrize("rank", [0, 1])
def test_damaged_window_is_named(tmp_path, damage, rank):
    path = merged_ranks(tmp_path / "run", [of_zoo("normal", 300), of_zoo("normal", 300)])
    file = path / "windows" / f"000001.rank{rank}.parquet"
    damage(file)
    with pytest.raises(RunError) as caught:
        StoredRun(path).distribution("train", "a", 1)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("damage", DAMAGE[:-1])
def test_damaged_steps_are_named(tmp_path, damage):
    path = one_window(tmp_path / "run")
    file = path / "steps" / "000000.rank0.parquet"
    pq.write_table(pa.table({"phase": ["train"] * 900, "step": np.random.default_rng(0).integers(0, 9, 900)}), file)
    damage(file)
    with pytest.raises(RunError) as caught:
        StoredRun(path).steps()
    assert str(file) in str(caught.value)


def test_windows_as_a_table(tmp_path):
    written = [
        {("train", "a"): of_zoo("normal", 300)},
        {("train", "a"): of_zoo("relu", 6000), ("eval", "b"): of_zoo("with_nan", 7)},
    ]
    run = StoredRun(write_run(tmp_path / "run", written, names=["x", "y"]))
    table = run.windows()
    assert len(table) == 9
    for window, distributions in enumerate(written, 1):
        for (phase, name), one in distributions.items():
            rows = table[(table["window"] == window) & (table["phase"] == phase) & (table["site"] == name)]
            assert rows["unit"].tolist() == [0, 1, 2]
            assert set(rows["name"]) == {"xy"[window - 1]}
            for column in ("count", "nonfinite", "mean", "std", "min", "max", "zero_share", "sampled", "w1_error"):
                np.testing.assert_array_equal(rows[FILED.get(column, column)], getattr(one, column))
            np.testing.assert_array_equal(rows[list(QUANTILE_COLUMNS)], one.quantile(STEP_QUANTILES))


def test_windows_of_a_run_without_any_is_an_error(tmp_path):
    with pytest.raises(RunError, match="has no windows: nothing was recorded"):
        StoredRun(write_run(tmp_path / "run", [], sites=[site("a")])).windows()


def test_pandas_reads_the_windows_as_they_are(tmp_path):
    path = write_run(tmp_path / "run", [{("train", "a"): of_zoo("normal", n)} for n in (300, 6000)])
    table = pd.read_parquet(path / "windows")
    assert table["window"].tolist() == [1, 1, 1, 2, 2, 2]
    np.testing.assert_array_equal(table["values"][0], of_zoo("normal", 300).values[0])
