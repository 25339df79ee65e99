"""Use icshift as a user would, with whatever versions are installed: its commands, a mask, a compiled model."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

TRAINING = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def train(net, model):
    x = torch.randn(256, 6)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for epoch in range(3):
        for inputs, targets in DataLoader(TensorDataset(x, x[:, :3].argmax(1)), batch_size=32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        yield epoch


if __name__ == "__main__":
    torch.manual_seed(0)
    net = Net()
    torch.save(torch.randn(64, 6), "data.pt")
    for epoch in train(net, net):
        torch.save(net.state_dict(), f"epoch{epoch}.pt")
"""

RECORDED = """
import icshift, torch
from train import Net, train

def plain(net):
    return net

def compiled(net):
    torch.compiler.reset()
    return torch.compile(net, backend="aot_eager")

def compiled_before(net):
    model = compiled(net)
    model(torch.ones(32, 6))
    return model

WAYS = {
    "plain": (plain, {}, 256),
    "masked": (plain, {"mask": lambda x: x[:, 0] > 0}, None),
    "compiled": (compiled, {}, 256),
    "compiled-before": (compiled_before, {}, 256),
}

def weights(made, path=None, **options):
    torch.manual_seed(0)
    net = Net()
    model = made(net)
    if path is None:
        list(train(net, model))
    else:
        with icshift.Recorder(net, path, **options) as recorder:
            for epoch in train(net, model):
                recorder.epoch()
    return [*net.state_dict().values(), torch.get_rng_state()]

for name, (made, options, rows) in WAYS.items():
    found = weights(made, f"of-{name}", **options)
    same = all(torch.equal(a, b) for a, b in zip(weights(made), found, strict=True))
    assert same, f"{name}: another training than without icshift"
    run = icshift.open(f"of-{name}")
    assert set(run.drift().site) == {"0", "1", "3"}, name
    seen = set(run.distribution("train", "0", 1).count)
    assert seen == {rows} if rows else len(seen) == 1 and max(seen) < 256, f"{name}: {seen}"
    print(name, "is recorded")
"""

COMMANDS = """
report run
report run -o run.html
units run --site 0
path run
info run
check run --fail-on w1_sd>100
export run -o drift.csv
export run -o drift.json
export run -o drift.parquet
analyze epoch0.pt epoch1.pt epoch2.pt --model train:Net --data data.pt -o saved
report saved --json
shift epoch2.pt --model train:Net --reference data.pt --data data.pt
report icshift-demo/plain
report icshift-demo/batch-norm
report icshift-demo/batch-norm -o demo.html
check icshift-demo/plain --fail-on w1_sd>1000
compare icshift-demo/plain icshift-demo/batch-norm
""".strip().splitlines()

MISTAKES = """
report
report nothing
report run --metric none
report run --colour
reprot
""".strip().splitlines()


def main() -> None:
    """Run everything in a folder of its own; ends at the first step that is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("train.py").write_text(TRAINING)
        Path("recorded.py").write_text(RECORDED)
        python("-m", "icshift", "demo", "--epochs", "10", "--seeds", "1")
        python("-m", "icshift", "run", "-o", "run", "train.py")
        python("recorded.py")
        for command in COMMANDS:
            icshift(command, 0)
        icshift("check run --fail-on w1_sd>0", 1)
        for mistake in MISTAKES:
            icshift(mistake, 2)


def icshift(command: str, code: int) -> None:
    """Run a command in this process: it must end with this exit code, without a warning, mistakes in one line."""
    from icshift.cli.main import _run

    out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        found = _run(command.split())
    if found != code or (code == 2 and err.getvalue().count("\n") != 1):
        sys.exit(f"icshift {command}: exit code {found}\n{err.getvalue()}")


def python(*arguments: str) -> None:
    """Run a program, which must end well and warn of nothing of ours."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    if done.returncode or "FutureWarning" in done.stderr or "icshift/" in done.stderr:
        sys.exit(f"{' '.join(arguments)}: exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr}")


if __name__ == "__main__":
    main()
