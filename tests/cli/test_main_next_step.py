"""Every line `Next:` is a command that works, and that shows more of what was shown."""

import re
import shlex
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from tests.conftest import record_small
from tests.recorded import distribution, site
from tests.reports.shown import run_of


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run whose path has to be quoted, with windows 1 to 3 and all phases."""
    return record_small(tmp_path_factory.mktemp("runs") / "my run", windows=3, batch_norm=True)


@pytest.fixture(scope="module")
def without_steps(tmp_path_factory):
    """A run without a step series, as `icshift analyze` makes them; one of its sites is no word for a shell."""
    windows = [{("train", "a;b"): distribution(np.random.default_rng(n).normal(n, 1, (3, 99)))} for n in range(3)]
    return run_of(tmp_path_factory.mktemp("runs") / "analysis", windows, sites=[site("a;b")]).path


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """A run whose units have no order in common with those of the other."""
    return record_small(tmp_path_factory.mktemp("runs") / "stranger", windows=3)


def next_of(out):
    (line,) = re.findall(r"^Next: icshift (.+?)(?:   \(.*\))?$", out, re.MULTILINE)
    return shlex.split(line)


@pytest.mark.some(8)
@pytest.mark.parametrize(
    "asked",
    [
        "report RUN",
        "report RUN --phase probe --metric w1 --reference first",
        "report RUN --phase probe --metric cka_distance",
        "report RUN --window 2 --metric ks",
        "report RUN --window worst --reference phase:eval",
        "report RUN --window all --metric energy --phase probe --reference first",
        "units RUN --site fc2 --phase eval --window 2",
        "units RUN --site norm1 --phase probe --metric w1 --reference first",
        "path RUN --metric w1",
        "path RUN --phase probe --metric ks",
        "onset RUN",
        "check RUN --fail-on 'p90(ks) > 0' --reference first --phase probe --window 2",
        "check RUN --fail-on 'cka_distance > 0' --phase probe",
        "check RUN --fail-on 'fc2 moved > 0' --window all",
        "check RUN --fail-on 'nonfinite >= 0' --phase eval",
        "compare RUN STRANGER",
        "report OTHER",
        "report OTHER --window 2 --reference first",
        "units OTHER --site 'a;b' --reference first",
        "report RUN --reference run:STRANGER",
    ],
)
def test_what_is_next_can_be_typed(asked, run, without_steps, stranger, command):
    paths = {"RUN": run, "OTHER": without_steps, "STRANGER": stranger}
    words = [re.sub("RUN|OTHER|STRANGER", lambda name: str(paths[name.group()]), word) for word in shlex.split(asked)]
    words = [word.replace(f"paired-run:{run}", "paired-run:RUN") for word in words]
    code, out, err = command(*words)
    assert code in (0, 1), err
    following = next_of(out)
    code, out, err = command(*following)
    assert code in (0, 1), (following, err)
    assert out


def saved(folder):
    """A saved model, the spec that makes it, and two sets of inputs, in a folder with a space in its name."""
    torch.manual_seed(0)
    network = nn.Linear(6, 4)
    torch.save(network.state_dict(), folder / "net.pt")
    torch.save({name: value + 1 for name, value in network.state_dict().items()}, folder / "net-2.pt")
    for number, name in enumerate(("seen", "new")):
        np.savez(folder / f"{name}.npz", np.random.default_rng(number).normal(number, 1, (80, 6)).astype(np.float32))
    return "--model", "torch.nn:Linear", "--model-arg", "in_features=6", "--model-arg", "out_features=4"


@pytest.mark.parametrize(
    "asked",
    [
        "analyze net.pt net-2.pt --data seen.npz -o 'a run'",
        "shift net.pt --reference seen.npz --data new.npz -o 'a run'",
    ],
    ids=lambda asked: asked.split()[0],
)
def test_what_is_next_after_saved_models_can_be_typed(asked, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    code, out, err = command(*shlex.split(asked), *saved(tmp_path))
    assert code == 0, err
    following = next_of(out)
    assert "a run" in following
    code, out, err = command(*following)
    assert (code, err) == (0, "")
    assert out


def options(words):
    return {name: value for name, value in pairwise(words) if name.startswith("--")}


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("report RUN --phase probe --metric w1 --reference first --window 2", "--phase --metric --reference --window"),
        ("report RUN --window all --metric ks --phase probe --reference first", "--phase --metric --reference"),
        ("units RUN --site fc2 --phase eval --window 2", "--site --phase --window"),
        ("path RUN --phase probe --metric ks", "--phase --metric"),
        ("check RUN --fail-on 'ks > 0' --reference first --phase probe --window 2", "--reference --phase --window"),
    ],
)
def test_what_is_next_is_of_what_was_shown(asked, kept, run, command):
    words = [word.replace("RUN", str(run)) for word in shlex.split(asked)]
    out = command(*words)[1]
    assert {name: options(next_of(out)).get(name) for name in kept.split()} == {
        name: options(words)[name] for name in kept.split()
    }


def test_a_check_asks_for_the_metric_that_failed(run, command):
    out = command("check", run, "--fail-on", "p90(ks) > 0")[1]
    assert options(next_of(out))["--metric"] == "ks"


def test_what_one_command_does_by_itself_is_left_out(run, command):
    assert set(options(next_of(command("report", run)[1]))) == {"--site"}
