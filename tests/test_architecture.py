"""Data flows one way: who may import whom, what is loaded when, and that the tests mirror the package."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests import architecture

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "icshift"

RULES = (
    architecture.not_allowed,
    architecture.never_kept,
    architecture.torch_outside,
    architecture.private_of_torch,
    architecture.commands_of_commands,
    architecture.busy_inits,
    architecture.long_files,
    architecture.large_rooms,
    architecture.cycles,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps(rule):
    assert not rule(PACKAGE)


def test_every_room_has_a_rule_and_every_rule_a_room():
    assert {module.room for module in architecture.modules(PACKAGE)} == set(architecture.ALLOWED)


def test_every_exception_is_one():
    """A file that no longer imports torch needs no leave to."""
    importing = {
        module.path
        for module in architecture.modules(PACKAGE)
        if any(name.split(".")[0] == "torch" for name, _ in architecture.imports(module.file, typing=False))
    }
    assert set(architecture.WITH_TORCH) <= importing
    assert all((PACKAGE / path).is_file() for path in architecture.WITHOUT_TORCH)


def test_every_module_has_tests_of_its_own():
    missing = architecture.untested(PACKAGE, TESTS)
    assert not missing, f"{len(missing)} missing:\n" + "\n".join(missing)


def test_every_test_file_is_named_after_a_module():
    misnamed = architecture.of_no_module(PACKAGE, TESTS)
    assert not misnamed, f"{len(misnamed)} misnamed:\n" + "\n".join(misnamed)


# The rules fail where they are broken


def planted(folder, **files):
    """A small package that keeps every rule, with some files added or replaced; two underscores stand for a slash."""
    package = folder / "icshift"
    rooms = ("record", "replay", "inputs", "saved", "hooks", "cli", "analysis", "reports", "runs", "model")
    sound = {f"{room}__part": '"""A part."""\n' + "#\n" * 19 for room in rooms}
    for name, text in {**sound, **files}.items():
        path = package / f"{name.replace('__', '/', 1)}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "__init__.py").touch()
        path.write_text(text)
    return package


def test_a_sound_tree_breaks_no_rule(tmp_path):
    package = planted(tmp_path, record__loop="from icshift.hooks.part import Hook\nimport torch\n")
    assert [rule.__name__ for rule in RULES if rule(package)] == []


PLANTED = {
    "record imports replay": (
        architecture.not_allowed,
        {"record__loop": "from icshift.replay.part import Replayer\n"},
        "record/loop.py imports replay.part",
    ),
    "replay imports record within a function": (
        architecture.not_allowed,
        {"replay__loop": "def f():\n    import icshift.record.part\n"},
        "replay/loop.py imports record.part",
    ),
    "inputs import hooks by a relative import": (
        architecture.not_allowed,
        {"inputs__loop": "from ..hooks import part\n"},
        "inputs/loop.py imports hooks.part",
    ),
    "saved import hooks for types": (
        architecture.not_allowed,
        {"saved__loop": "if TYPE_CHECKING:\n    from icshift.hooks.part import Hook\n"},
        "saved/loop.py imports hooks.part",
    ),
    "analysis imports by way of the package itself": (
        architecture.not_allowed,
        {"analysis__loop": "from icshift import Recorder\n"},
        "analysis/loop.py imports __init__",
    ),
    "a room without a rule": (
        architecture.not_allowed,
        {"utils__loop": "from icshift.runs.part import Run\n"},
        "utils/loop.py imports runs.part",
    ),
    "record reaches replay by way of hooks": (
        architecture.never_kept,
        {
            "record__loop": "from icshift.hooks.loop import Hook\n",
            "hooks__loop": "from icshift.replay.part import Replayer\n",
        },
        "record.loop imports hooks.loop imports replay.part",
    ),
    "saved reach hooks by way of model": (
        architecture.never_kept,
        {"saved__loop": "from icshift.model import loop\n", "model__loop": "from icshift.hooks.part import Hook\n"},
        "saved.loop imports model.loop imports hooks.part",
    ),
    "analysis imports torch": (
        architecture.torch_outside,
        {"analysis__loop": "import torch.nn\n"},
        "analysis/loop.py imports torch",
    ),
    "reports import torch within a function": (
        architecture.torch_outside,
        {"reports__loop": "def f():\n    from torch import nn\n"},
        "reports/loop.py imports torch",
    ),
    "what prepares a script imports torch": (
        architecture.torch_outside,
        {"launch__script": "import torch\n"},
        "launch/script.py imports torch",
    ),
    "a private module of torch is imported": (
        architecture.private_of_torch,
        {"hooks__loop": "from torch.utils._python_dispatch import TorchDispatchMode\n"},
        "hooks/loop.py uses torch.utils._python_dispatch.TorchDispatchMode",
    ),
    "a private name of torch is imported": (
        architecture.private_of_torch,
        {"hooks__loop": "def f():\n    from torch.utils.data.dataloader import _BaseDataLoaderIter\n"},
        "hooks/loop.py uses torch.utils.data.dataloader._BaseDataLoaderIter",
    ),
    "a private name of torch is taken": (
        architecture.private_of_torch,
        {"model__loop": "import torch\n\ntorch.__version__, torch._C.DisableTorchFunction()\n"},
        "model/loop.py uses torch._C",
    ),
    "a private name of torch is taken by another name": (
        architecture.private_of_torch,
        {"model__loop": "import sys\nfrom torch import nn\n\nsys._getframe, nn.modules.conv._ConvNd\n"},
        "model/loop.py uses torch.nn.modules.conv._ConvNd",
    ),
    "a private module of torch is looked up": (
        architecture.private_of_torch,
        {"record__loop": 'import sys\n\nsys.modules.get("torch._dynamo.config")\n'},
        "record/loop.py uses torch._dynamo.config",
    ),
    "whether a private module of torch is loaded": (
        architecture.private_of_torch,
        {"record__loop": 'import sys\n\n"torch._dynamo" in sys.modules\n'},
        "record/loop.py uses torch._dynamo",
    ),
    "a private attribute of what is torch's": (
        architecture.private_of_torch,
        {"model__loop": "def f(module):\n    return module._modules, module._backward_hooks, f._own\n\nf._own = 1\n"},
        "model/loop.py uses ._backward_hooks",
    ),
    "a command imports a command": (
        architecture.commands_of_commands,
        {"cli__loop": "def f():\n    from icshift.cli.part import shown\n"},
        "cli/loop.py imports cli.part",
    ),
    "a folder's __init__ imports": (
        architecture.busy_inits,
        {"runs____init__": '"""Runs."""\n\nfrom icshift.runs.part import Run\n'},
        "runs/__init__.py does more than say what the folder is for",
    ),
    "a long file": (architecture.long_files, {"runs__loop": "x = 1\n" * 401}, "runs/loop.py has 401 lines"),
    "a large room": (architecture.large_rooms, {"runs__loop": "x = 1\n" * 50}, "runs holds 28.0% of all lines"),
    "a circle": (
        architecture.cycles,
        {
            "runs__one": "from icshift.runs.two import b\n",
            "runs__two": "def f():\n    from icshift.runs.three import c\n",
            "runs__three": "from icshift.runs import one\n",
        },
        "runs.one imports runs.two imports runs.three imports runs.one",
    ),
}


@pytest.mark.parametrize(("rule", "files", "violation"), PLANTED.values(), ids=PLANTED)
def test_what_is_planted_is_reported(rule, files, violation, tmp_path):
    found = rule(planted(tmp_path, **files))
    if rule is architecture.cycles:  # A circle may be told from any of its modules.
        found = [rotated(found[0], violation.split(" imports ")[0])]
    assert found == [violation]


def rotated(circle, start):
    names = circle.split(" imports ")[:-1]
    at = names.index(start)
    return " imports ".join([*names[at:], *names[:at], start])


def test_tests_that_are_missing_or_misnamed_are_reported(tmp_path):
    package = planted(tmp_path, runs__format="", runs__format_history="", errors="")
    tests = tmp_path / "tests"
    (tests / "runs").mkdir(parents=True)
    for name in ("test_format.py", "test_part_of_it.py", "test_nothing.py", "recorded.py"):
        (tests / "runs" / name).touch()
    missing = architecture.untested(package, tests)
    assert {"test_errors.py", "runs/test_format_history.py", "cli/test_part.py"} <= set(missing)
    assert not {"runs/test_format.py", "runs/test_part.py"} & set(missing)
    assert architecture.of_no_module(package, tests) == ["runs/test_nothing.py"]


# What is loaded when: one process runs everything in turn, the lightest first, since modules stay loaded

HEAVY = ("torch", "pandas", "scipy", "numpy", "pyarrow")

READING = {
    "report": ["report", "RUN"],
    "report --json": ["report", "RUN", "--json"],
    "units": ["units", "RUN", "--site", "fc1"],
    "info": ["info", "RUN"],
    "path": ["path", "RUN"],
    "check": ["check", "RUN", "--fail-on", "w1_sd > 1000"],
    "check --junit": ["check", "RUN", "--fail-on", "moved > 100%", "--fail-on", "nonfinite > 1", "--junit", "-"],
    "export": ["export", "RUN", "-o", "-"],
}

IN_TURN = f"""
import contextlib, io, json, sys
loaded = {{}}

def note(name):
    loaded[name] = [heavy for heavy in {HEAVY} if heavy in sys.modules]

def command(name, arguments):
    from icshift.cli.main import _run
    with contextlib.redirect_stdout(io.TextIOWrapper(io.BytesIO())) as output:
        code = _run(arguments)
    output.flush()
    assert code == 0 and output.buffer.getvalue(), (name, code)
    note(name)

run = sys.argv[1]
import icshift
note("import icshift")
command("--help", ["--help"])
opened = icshift.open(run)
assert len(opened.drift()) and len(opened.steps())
note("icshift.open")
for name, arguments in {READING!r}.items():
    command(name, [run if word == "RUN" else word for word in arguments])
icshift.Recorder
note("icshift.Recorder")
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def loaded(two_windows):
    """Which heavy packages are loaded after each of these in turn."""
    command = [sys.executable, "-c", IN_TURN, str(two_windows)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", ["import icshift", "--help"])
def test_nothing_heavy_is_loaded_by(name, loaded):
    assert loaded[name] == []


@pytest.mark.parametrize("name", ["icshift.open", *READING])
def test_torch_is_not_loaded_by(name, loaded):
    assert "pyarrow" in loaded[name]
    assert "torch" not in loaded[name]


def test_torch_is_seen_once_it_is_loaded(loaded):
    assert "torch" in loaded["icshift.Recorder"]
