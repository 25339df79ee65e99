"""The README is short, its commands to install are whole, and what it refers to is there."""

import re
from pathlib import Path

import pytest

from icshift.analysis.drift import COLUMNS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("marker", ["demo", "test"])
def test_install_commands_are_one_line_with_constraints(marker):
    command = re.search(rf"<!-- {marker} -->\n```sh\n(.*?)```", README, re.S).group(1)
    assert command.count("\n") == 1
    assert "-c constraints.txt" in command


def test_pictures_and_pages_are_there():
    links = re.findall(r"\]\(([^)h][^)]*)\)", README)
    assert "docs/demo.svg" in links
    assert all((ROOT / link).exists() for link in links)


def test_every_page_is_found_from_it():
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md") if page.stem != "index"} <= set(
        re.findall(r"\]\((docs/[^)#]+)", README)
    )


def test_it_is_short():
    assert len(README.split("\n## More\n")[0].split()) < 1200


def test_columns_of_an_export_are_the_stated_ones():
    assert f"`{', '.join(COLUMNS)}`" in (ROOT / "docs" / "reports.md").read_text()
