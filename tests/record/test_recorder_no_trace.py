"""Training with a recorder is bit-identical to training without, and afterwards nothing of it is left."""

from __future__ import annotations

import shutil
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.record.trained import STEPS, assert_same, each, some, train, train_and_listen, unrecorded, watched
from tests.zoo.models import Specimen, specimens


@pytest.mark.some(16)
@each
def test_training_with_a_recorder_is_bit_identical_to_training_without(specimen: Specimen, tmp_path: Path) -> None:
    expected, warned = unrecorded(specimen)
    found, also_warned = train_and_listen(specimen, watched(tmp_path / "run"))
    assert_same(found.numbers, expected)
    assert not {text for text in also_warned - warned if not text.startswith("icshift stopped recording")}
    assert StoredRun(tmp_path / "run").sites, "nothing was recorded, so nothing was tested"


@pytest.mark.some(8)
@some
def test_training_with_the_recorders_defaults_is_bit_identical_too(specimen: Specimen, tmp_path: Path) -> None:
    expected, _ = unrecorded(specimen)
    defaults = {"sites": None, "samples": 64, "window": None}
    found = train(specimen, lambda model, _, probe: watched(tmp_path / "run", **defaults)(model, None, probe))
    assert_same(found.numbers, expected)
    assert StoredRun(tmp_path / "run").sites, "nothing was recorded, so nothing was tested"


class Widening(nn.Linear):
    """Gives more units with every forward: it cannot be one site."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x).repeat(1, self.calls)


class WithWidening(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.odd, self.head = nn.Linear(6, 5), Widening(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.odd(self.body(x))[:, :5])


def test_a_site_that_cannot_be_recorded_warns_once_is_in_the_ledger_and_disturbs_nothing(tmp_path: Path) -> None:
    make_batch = specimens("mlp")[0].build()[1]
    specimen = Specimen("widening", lambda: (WithWidening(), make_batch), lambda output: output.square().sum())
    expected, _ = unrecorded(specimen)
    with pytest.warns(RuntimeWarning, match="odd") as warned:
        found = train(specimen, watched(tmp_path / "run", sites=["body", "odd", "head"]))
    assert_same(found.numbers, expected)
    assert len(warned) == 1
    run = StoredRun(tmp_path / "run")
    states = {entry["module"]: entry for entry in run.manifest["ledger"]}
    assert states["odd"]["state"] == "failed"
    assert "10" in states["odd"]["reason"]
    assert states["body"]["state"] == states["head"]["state"] == "observed"
    steps = run.steps("train")
    assert steps[steps.site == "head"].step.unique().tolist() == list(range(STEPS))


def test_a_run_directory_that_vanishes_ends_the_recording_and_not_the_training(tmp_path: Path) -> None:
    specimen = specimens("mlp")[0]
    expected, _ = unrecorded(specimen)
    theirs: list[Any] = []

    @contextmanager
    def vanishing(model: nn.Module, optimizer: torch.optim.Optimizer, _: Any) -> Iterator[Recorder]:
        with Recorder(model, tmp_path / "run", optimizer=optimizer, window=2) as recorder:
            handle = optimizer.register_step_post_hook(lambda *_: theirs.append(len(model[0]._forward_hooks)))
            shutil.rmtree(tmp_path / "run")
            yield recorder
        handle.remove()

    with pytest.warns(RuntimeWarning, match="stopped recording to"):
        found = train(specimen, vanishing)
    assert_same(found.numbers, expected)
    assert theirs == [1, 1, 1, 0, 0], "the hooks go when the first window is found not to be written; others are called"


def test_no_activation_is_kept_alive(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
        for mode in (True, False):
            output = model.train(mode)(torch.ones(5, 4))
            reference, storage = weakref.ref(output), weakref.ref(output.untyped_storage())
            del output
            assert reference() is None
            assert storage() is None
            recorder.step()


WARNINGS_ARE_ERRORS = """
import sys
import torch
from torch import nn
from icshift.record.recorder import Recorder

class Widening(nn.Linear):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x).repeat(1, self.calls)

model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), Widening(3, 2))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
calls = []

def mask(x):
    calls.append(len(x))
    return x[:, 0] > 0 if len(calls) < 6 else 0

probe = torch.ones(6, 4)
with Recorder(model, sys.argv[1], optimizer=optimizer, window=1, probe=probe, mask=mask) as recorder:
    for step in range(4):
        model(-torch.ones(5, 4)).sum().backward()
        optimizer.step()
        probe.resize_(12, 2)
print("trained", model[2].calls)
"""


def test_where_warnings_are_errors_none_ends_the_training(tmp_path: Path) -> None:
    """A site, the probe and the mask fail, one after the other; each tells of it on stderr."""
    command = [sys.executable, "-W", "error", "-c", WARNINGS_ARE_ERRORS, str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trained")
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "icshift stopped recording 2",
        "icshift stopped replaying the probe",
        f"icshift stopped recording to {tmp_path / 'run'}",
    ]
