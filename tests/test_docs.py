"""The pages in docs/ and at the top are true: what they name exists, and a run can be read as the format page says."""

import ast
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from torch import nn

import icshift
from icshift.record.recorder import Recorder
from icshift.runs.format import FORMAT
from tests.conftest import small_network

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FORMAT_PAGE = (ROOT / "docs" / "format.md").read_text()
FOLDERS = "icshift|tests|docs|examples|benchmarks"


def ids(page):
    return str(page.relative_to(ROOT))


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def named_paths(text):
    """Files and folders that a page names as code: from the top of the repository, or within icshift/."""
    for code in re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text):
        if re.fullmatch(rf"(?:{FOLDERS})/[\w./-]*|[\w-]+(?:/[\w-]+)*\.(?:py|md|toml|cff|yaml|yml)", code):
            yield code


def there(path):
    # A run has files of its own kind; none of them ends like these.
    return any((ROOT / folder / path).exists() for folder in ("", "icshift", "examples"))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files_that_a_page_names_are_there(page):
    assert [path for path in named_paths(page.read_text()) if not there(path)] == []


def test_names_of_files_are_looked_for():
    text = "`icshift/hooks/hook.py`, `runs/nowhere.py` and `CITATION.cff`, but neither `run.json` nor `recorder.step()`"
    assert list(named_paths(text)) == ["icshift/hooks/hook.py", "runs/nowhere.py", "CITATION.cff"]
    assert there("icshift/hooks/hook.py")
    assert not there("runs/nowhere.py")


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = page.parent / path if path else page
        assert aim.exists(), target
        headings = {slug(heading) for heading in re.findall(r"^#+ (.*)$", aim.read_text(), re.M)} if anchor else set()
        assert not anchor or anchor in headings, target


def test_the_way_of_a_tensor_names_files_in_every_folder_on_it():
    text = (ROOT / "docs" / "how-it-works.md").read_text()
    folders = {path.split("/")[1] for path in named_paths(text) if path.startswith("icshift/")}
    assert {"hooks", "model", "sketch", "record", "runs", "analysis", "reports", "cli"} <= folders


def test_every_decision_has_the_same_parts_and_is_short():
    records = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for record in records:
        text = record.read_text()
        assert re.findall(r"^## (.*)$", text, re.M) == ["Context", "Decision", "Tried and refused", "Consequence"]
        assert len(text.splitlines()) < 60, record.name


def test_every_folder_of_the_package_is_on_the_map():
    shown = set(re.findall(r"^\| `(\w+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M))
    folders = {file.parent.name for file in (ROOT / "icshift").glob("*/__init__.py")}
    assert folders <= shown


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run with every series, at the path that the page's snippet reads, and the directory that it is in."""
    folder = tmp_path_factory.mktemp("format")
    model = small_network(batch_norm=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(96, 6)
    classes = torch.arange(96) % 3
    with Recorder(model, folder / "runs" / "a", optimizer=optimizer, probe=inputs[:50]) as recorder:
        for _ in range(2):
            for batch in torch.randperm(96).split(16):

                def closure(batch=batch):
                    return nn.functional.cross_entropy(model(inputs[batch]), classes[batch])

                recorder.gradient_shift(closure, every=3)
                recorder.smoothness(closure, every=3)
                optimizer.zero_grad()
                closure().backward()
                optimizer.step()
                recorder.log(accuracy=0.5)
            recorder.epoch()
    return folder


def columns(heading):
    """Names and types in the page's table below a heading."""
    section = FORMAT_PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \| ([^|`]+) \|", section, re.M)


def plain(kind):
    """A type of pyarrow's in the page's words."""
    if kind.num_fields:
        return f"list of {kind.field(0).type}"
    return str(getattr(kind, "value_type", kind))


@pytest.mark.parametrize("folder", ["windows", "steps", "gradient_shift", "smoothness", "logged"])
def test_columns_of_a_recorded_run_are_those_of_the_page(recorded, folder):
    files = sorted((recorded / "runs" / "a" / folder).glob("[0-9]*.parquet"))
    assert files
    for file in files:
        assert [(field.name, plain(field.type)) for field in pq.read_schema(file)] == columns(f"{folder}/")


def test_the_page_reads_a_run_without_icshift(recorded):
    (snippet,) = re.findall(r"```python\n(.*?)```", FORMAT_PAGE, re.S)
    imported = {name.name.split(".")[0] for node in ast.walk(ast.parse(snippet)) for name in getattr(node, "names", ())}
    shown = 'print(json.dumps([names, sorted(set(windows["phase"])), len(medians), sorted(set(steps["step"]))]))'
    isolated = [sys.executable, "-c", f"{snippet}\nimport sys\nassert 'icshift' not in sys.modules\n{shown}"]
    done = subprocess.run(isolated, cwd=recorded, capture_output=True, text=True, check=True)
    names, phases, units, steps = json.loads(done.stdout)
    assert "icshift" not in imported
    assert names == {"1": "1", "2": "2"}
    assert phases == ["probe", "train"]
    assert units == 8
    assert steps == list(range(12))


def test_the_page_says_how_packed_numbers_are_read(recorded):
    (snippet,) = re.findall(r"```text\n(steps = .*?)```", FORMAT_PAGE, re.S)
    file = sorted((recorded / "runs" / "a" / "windows").glob("[0-9]*.parquet"))[0]
    rows = pd.read_parquet(file, partitioning=None).query("phase == 'train'")
    found = {"np": np, "row": rows.iloc[1]}
    exec(snippet, found)
    told = icshift.open(recorded / "runs" / "a").distribution("train", rows["site"].iloc[1], 1).blocks
    np.testing.assert_array_equal(found["slices"], told.slices[1])
    np.testing.assert_array_equal(found["steps"], told.steps)


def keys(heading):
    section = FORMAT_PAGE.split(heading)[1].split("\n\n")[0]
    return {name for row in section.splitlines() for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_keys_of_the_manifest_are_those_of_the_page(recorded):
    manifest = json.loads((recorded / "runs" / "a" / "run.json").read_text())
    assert set(manifest) | {"thinned", "resumed"} == keys(
        "\n## The manifest\n"
    )  # Where there is a budget; once resumed.
    assert set(manifest["sites"][0]) == keys("\nA site has:\n")
    (settings,) = re.findall(r"`settings` of a recorder has (.*?)\. Those", FORMAT_PAGE, re.S)
    assert set(manifest["settings"]) | {"overhead_budget"} == set(re.findall(r"`(\w+)`", settings))
    (window,) = re.findall(r"hold the window as JSON: (.*?)\.\n", FORMAT_PAGE, re.S)
    metadata = json.loads(
        pq.read_schema(recorded / "runs" / "a" / "windows" / "000001.rank0.parquet").metadata[b"icshift"]
    )
    assert set(metadata) | {"left_out", "thinned"} == set(re.findall(r"`(\w+)`", window))


def test_the_page_is_of_the_format_that_is_written():
    assert f"The format is number {FORMAT}." in FORMAT_PAGE
    assert re.findall(r"^\| (\d+) \|", FORMAT_PAGE.split("## History")[1], re.M) == [
        str(number) for number in range(1, FORMAT + 1)
    ]


def test_a_quiet_run_of_the_tests_ends_with_a_summary(tmp_path):
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n")
    arguments = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], capture_output=True, text=True, check=True)
    assert "1 passed" in done.stdout


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text()
    (version,) = re.findall(r'__version__ = "(.*)"', (ROOT / "icshift" / "_version.py").read_text())
    assert f"\nversion: {version}\n" in citation
    assert re.search(rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M)


def test_everything_that_is_needed_has_a_lowest_version_and_every_python_its_combinations():
    """Or the workflow could not try them."""
    script = runpy.run_path(str(ROOT / ".ci" / "combinations.py"))
    assert set(script["LOWEST"]) >= {"torch", "numpy", "pandas", "altair"}
    assert all(re.fullmatch(r"[\d.]+", version) for version in script["LOWEST"].values())
    assert {"3.11-lowest", "3.13-newest"} <= set(script["COMBINATIONS"])
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    (tried,) = re.findall(r"combination: \[(.+)\]", workflow)
    assert set(tried.split(", ")) <= set(script["COMBINATIONS"])


def test_actions_of_the_workflow_are_pinned_and_may_do_nothing():
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: (\S+)", text)
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
    assert "\npermissions: {}\n" in text
