"""What a run will take on disk is told within a stated factor of what it takes, and `used` is what is there."""

from pathlib import Path

import pytest
import torch
from torch import nn

import icshift
from icshift.runs.disk import FACTOR, SERIES_BYTES, STEP_BYTES, WINDOW_BYTES, Disk, expected, used
from icshift.runs.format import units_in_steps
from icshift.runs.writer import STEP_ROWS


def train(path, width, steps, batch, windows):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with icshift.Recorder(model, path, optimizer=optimizer) as recorder:
        for _ in range(windows):
            for _ in range(steps):
                optimizer.zero_grad()
                model(torch.randn(batch, 16)).square().mean().backward()
                optimizer.step()
            recorder.epoch()
    return icshift.open(path)


@pytest.mark.some(2)
@pytest.mark.parametrize(("steps", "batch"), [(6, 64), (8, 64), (40, 32), (120, 128)])
def test_the_estimate_is_within_its_factor(steps, batch, tmp_path):
    windows = 3
    run = train(tmp_path / "run", 200, steps, batch, windows)
    told, taken = expected(run.sites), used(run.path)
    for each, real in ((told.window, taken.windows / windows), (told.step, taken.steps / (steps * windows))):
        assert each / FACTOR < real < each * FACTOR


def test_a_series_takes_what_a_step_takes_until_every_second_is_kept(tmp_path):
    run = train(tmp_path / "run", 200, 40, 32, 1)
    rows = 40 * sum(len(units_in_steps(site)) for site in run.sites)
    assert SERIES_BYTES / FACTOR < used(run.path).steps / rows * STEP_ROWS < SERIES_BYTES * FACTOR


def test_used_is_what_is_there(tmp_path):
    for name, size in {"run.json": 7, "windows/a": 100, "windows/b": 20, "steps/a": 3, "logged/a": 1}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * size)
    assert used(tmp_path) == Disk(windows=120, steps=3, all=131)
    assert used(tmp_path / "nowhere") == Disk(0, 0, 0)


def test_the_page_has_the_same_figures():
    page = (Path(__file__).parent.parent.parent / "docs" / "recording.md").read_text()
    told = f"about {WINDOW_BYTES / 1000:g} kB a unit, phase and window, and {STEP_BYTES} bytes a unit and step up to "
    assert f"{told}{SERIES_BYTES / 1e6:.0f} MB a model" in page
    assert FACTOR == 2
