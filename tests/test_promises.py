"""Every promise of docs/promises.md names a test that holds it, and that test is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "promises.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[name for _, name in NAMED])
def test_the_test_of_a_promise_is_there(file, name):
    functions = [node for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    (test,) = [function for function in functions if function.name == name]
    assert any(isinstance(node, (ast.Assert, ast.With, ast.Call)) for node in ast.walk(test))
    assert "pytest.mark.thorough" not in map(ast.unparse, test.decorator_list), "of a promise something runs every time"


def promises(page):
    """What is in bold at the beginning of an item, each with the rest of its item."""
    items = re.split(r"^\* ", page.split("# What icshift promises")[1], flags=re.MULTILINE)[1:]
    return [re.split(r"^(?:#|$)", item, flags=re.MULTILINE)[0] for item in items]


def test_every_promise_names_a_test():
    found = promises(PAGE)
    assert len(found) > 15
    assert [item.splitlines()[0] for item in found if "::" not in item] == []


def test_a_promise_without_a_test_is_seen():
    assert promises("# What icshift promises\n\n* **All is well.**\n  Believe it.\n\n## Next\n") == [
        "**All is well.**\n  Believe it.\n"
    ]
