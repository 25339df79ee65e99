"""What every test starts from and must leave behind, and small recorded runs that many tests read."""

import compileall
import gc
import math
import os
import signal
import subprocess
from functools import cache
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # Read when torch is imported, here and by what is started: tests share the cores.
os.environ["KERAS_BACKEND"] = "torch"  # Read when Keras is imported.

import pytest
import torch
import typer.main
from torch import nn
from torch.nn.modules import module as modules
from torch.optim import optimizer as optimizers

import icshift
from icshift.distribution import curve_of
from icshift.hooks import stopwatch
from icshift.kernel_choice import CHOICE, compiled
from icshift.record import journal
from icshift.record.recorder import Recorder
from tests import covering, order
from tests.bounded import bounded
from tests.shared import once
from tests.warm import starting as warm

collect_ignore = ["warm/server.py", "oracles/trainings.py"]
"""Programs: one cannot be imported where there are threads, the other is found beside the scripts that it watches."""

GLOBAL_HOOKS = (
    optimizers._global_optimizer_post_hooks,
    optimizers._global_optimizer_pre_hooks,
    modules._global_forward_hooks,
    modules._global_forward_pre_hooks,
    modules._global_backward_hooks,
    modules._global_module_registration_hooks,
    modules._global_parameter_registration_hooks,
)


def pytest_configure(config):
    config.pluginmanager.register(covering)
    config.pluginmanager.register(order)
    if getattr(config.option, "dist", "no") == "no":  # The process that hands the tests out collects none.
        gc.disable()  # Until all is collected: a quarter of that time it would look through what stays.
    # Once, and not in each of hundreds of processes, where the environment has Python write no bytecode.
    if not hasattr(config, "workerinput"):
        compileall.compile_dir(Path(icshift.__file__).parent, quiet=2)


@pytest.hookimpl(wrapper=True)
def pytest_collect_file():
    """Tests hold no examples: it takes seconds to look for them."""
    found = yield
    return [one for one in found if type(one).__name__ != "DoctestModule"]


def pytest_collection_finish():
    """What has been imported stays: a fifth of the time went into looking through it for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def nothing_is_written_by_the_clock():
    """What is written every ten seconds is added up in other groups: on a slow machine the last bit would differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal, "FLUSH_SECONDS", math.inf)
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_waits_for_the_disk():
    """No test loses power, and each window would wait 8 ms for it; `test_durable.py` sees what is asked of a disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def the_command_line_is_built_once():
    """Typer would make all commands anew for every one that is run, in a twentieth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(autouse=True)
def same_random_numbers_every_time():
    torch.default_generator.manual_seed(7)  # Of the CPU alone: `torch.manual_seed` takes longer than most tests.


@pytest.fixture(autouse=True)
def no_global_hook_survives():
    before = [len(hooks) for hooks in GLOBAL_HOOKS]
    yield
    assert [len(hooks) for hooks in GLOBAL_HOOKS] == before


@pytest.fixture(autouse=True)
def no_block_is_left_open():
    yield
    assert not stopwatch._everything.place.open


@pytest.fixture
def interruptible():
    """Ctrl-C reaches this process and those it starts, also where the shell has them ignore it (in the background)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def bound():
    """What waits for other processes is shown where they are after a while, and waits no longer."""
    with bounded():
        yield


def small_network(*, batch_norm=False):
    """fc1 (8 units) with ReLU, and norm1 before it where asked for; fc2 (3 units)."""
    torch.manual_seed(0)
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(6, 8))
    if batch_norm:
        model.add_module("norm1", nn.BatchNorm1d(8))
    model.add_module("relu1", nn.ReLU())
    model.add_module("fc2", nn.Linear(8, 3))
    return model


def record_small(path, *, windows=2, batch_norm=False, rate=0.1, probe=True, steps=10):
    """A real little training, recorded: phases train, eval and probe."""
    model = small_network(batch_norm=batch_norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(200, 6, generator=random)
    classes = (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0).long()
    with Recorder(model, path, optimizer=optimizer, probe=inputs[:50] if probe else None) as recorder:
        for _ in range(windows):
            model.train()
            for batch in torch.randperm(200, generator=random).split(200 // steps):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[batch]), classes[batch]).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                model(inputs[:60])
            recorder.epoch()
    return path


@pytest.fixture(scope="session")
def two_windows(tmp_path_factory):
    return record_small(tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def with_batch_norm(tmp_path_factory):
    return record_small(tmp_path_factory.mktemp("runs") / "normed", windows=4, batch_norm=True)


@pytest.fixture(scope="session")
def one_window(tmp_path_factory):
    return record_small(tmp_path_factory.mktemp("runs") / "single", windows=1)


DEMO_EPOCHS = 20


@pytest.fixture(scope="session")
def demo_run(tmp_path_factory):
    """The folder in which `icshift demo` ran, shorter than by default, and in `printed` what it printed on stdout."""

    def make(folder):
        command = [warm.icshift(), "demo", "--force", "--epochs", str(DEMO_EPOCHS), "--seeds", "2"]
        environment = {**os.environ, "COLUMNS": "80"}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env=environment)
        (folder / "printed").write_text(done.stdout)

    return once(tmp_path_factory, "demo", make)


@pytest.fixture(params=["numpy", "native"])
def each_kernel(request, monkeypatch):
    """The name of the kernel in use by what reads distributions: one after the other."""
    if request.param == "native" and compiled is None:
        pytest.skip("the native kernel was not built: `python setup.py build_ext --inplace`")
    monkeypatch.setenv(CHOICE, request.param)
    curve_of.cache_clear()
    yield request.param
    curve_of.cache_clear()
