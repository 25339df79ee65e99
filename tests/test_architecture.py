"""Data flows one way: who may import whom, and what must not be loaded."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "icshift"
LONGEST = 400

ALLOWED = {
    "errors": set(),
    "_version": set(),
    "distribution": set(),
    "format": {"distribution"},
    "run": {"errors", "distribution", "format"},
    "recording": {"errors", "distribution", "format"},
    "training": {"errors", "training"},
    "capture": {"errors", "distribution", "format", "run", "recording", "_version", "training", "capture"},
    "analysis": {"errors", "distribution", "format", "run", "analysis"},
    "reports": {"errors", "reports"},
    "api": {"run", "analysis"},
    "demo": {"errors", "capture"},
    "selfcheck": {
        "errors",
        "distribution",
        "format",
        "run",
        "api",
        "training",
        "capture",
        "analysis",
        "demo",
        "selfcheck",
    },
    "integrations": {"errors", "capture", "integrations"},
    "cli": {
        "errors",
        "_version",
        "format",
        "run",
        "recording",
        "capture",
        "analysis",
        "reports",
        "training",
        "demo",
        "selfcheck",
        "cli",
    },
    "__main__": {"cli"},
    "__init__": {"_version", "errors", "api", "training", "capture"},
}
"""What each part may import of ours; its own files are in the list where they may import one another."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def part(module):
    return module.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(module, *, typing=True):
    """Names of all modules that a file imports, at its top and within functions, and (`typing`) for its types alone."""
    tree = ast.parse(module.read_text())
    for block in [] if typing else [node for node in ast.walk(tree) if isinstance(node, ast.If)]:
        if isinstance(block.test, ast.Name) and block.test.id == "TYPE_CHECKING":
            block.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_imports_point_down(module):
    ours = {name.split(".")[1] for name in imports(module) if name.startswith("icshift.")}
    assert ours <= ALLOWED[part(module)]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_torch_is_imported_by_capture_and_demo_alone(module):
    uses_torch = any(name.split(".")[0] == "torch" for name in imports(module, typing=False))
    # `demo` sets the number of threads before it trains, `analyze` the seed before it makes a model.
    commands = [PACKAGE / "cli" / "demo.py", PACKAGE / "cli" / "analyze.py"]
    allowed = part(module) in ("training", "capture", "demo", "selfcheck") or module in commands
    assert allowed or not uses_torch


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(PACKAGE)))
def test_files_tell_one_story(module):
    assert len(module.read_text().splitlines()) <= LONGEST


def loaded_after(code):
    """Top-level modules that are loaded when `code` has run in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(' '.join({{name.split('.')[0] for name in sys.modules}}))"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(found.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    code = "from icshift.cli.main import _run\nassert _run(['--help']) == 0"
    assert not {"torch", "pandas", "scipy", "numpy", "pyarrow"} & loaded_after(code)


@pytest.mark.parametrize(
    "command", ["report RUN", "units RUN --site fc1", "info RUN", "export RUN -o -", "report RUN --json", "path RUN"]
)
def test_reading_never_loads_torch(command, two_windows):
    arguments = [str(two_windows) if word == "RUN" else word for word in command.split()]
    loaded = loaded_after(f"from icshift.cli.main import _run\nassert _run({arguments!r}) == 0")
    assert "pyarrow" in loaded
    assert "torch" not in loaded


def test_opening_a_run_never_loads_torch(two_windows):
    code = f"import icshift\nrun = icshift.open({str(two_windows)!r})\nassert len(run.drift()) and len(run.steps())"
    assert "torch" not in loaded_after(code)
