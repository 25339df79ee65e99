"""Tries to use saved models in a process of its own, which may be hurt: little memory, little time, an empty directory.

`python -m tests.saved.attempts` takes a list of jobs on its input, one JSON object a line, and answers each with one.
"""

import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.warm.starting import python

SECONDS = 30
"""How long one may take on a machine with much else to do, before it counts as hanging."""

BUSY = 20
"""Seconds of processor time that reading a hostile file may take.

The heaviest takes 4 to 6 on a slow machine; a bomb that goes off takes minutes, or all memory.
"""

MEMORY = 6 << 30
ROOT = Path(__file__).parents[2]


class TooLongError(BaseException):
    """Not an `Exception`: nothing that is tried may swallow it."""


def run(jobs, cwd, *, timeout=240):
    """The outcomes of jobs, in another process that starts in `cwd`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    text = "".join(json.dumps(job) + "\n" for job in jobs)
    found = subprocess.run(
        [python(), "-m", "tests.saved.attempts"],
        input=text,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=timeout,
        check=False,
    )
    assert found.returncode == 0, f"the process ended with {found.returncode}: {found.stderr[-3000:]}"
    outcomes = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(outcomes) == len(jobs)
    assert found.stderr == ""
    return outcomes


def attempt(path, *, build=False):
    """What came of a saved model: `ok` with a digest of its weights, `refused` with the line, or `failed` with why."""
    from icshift.errors import ModelError
    from icshift.saved.find import find
    from icshift.saved.fit import fit
    from icshift.saved.load import build as build_saved
    from icshift.saved.load import load
    from tests.saved.zoo import Digits

    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    started = time.process_time()
    try:
        (found,) = find([Path(path)])
        loaded = load(found)
        if build:
            build_saved(found)
        else:
            fit(Digits(), loaded.state)
        outcome = {"outcome": "ok", "digest": digest(loaded.state)}
    except ModelError as error:
        line = str(error)
        fine = line.isprintable() and len(line) <= 600
        outcome = {"outcome": "refused" if fine else "failed", "line": line}
    except BaseException:  # noqa: BLE001  Whatever else it is, it is what the test is for.
        outcome = {"outcome": "failed", "line": traceback.format_exc()}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return outcome | {"seconds": time.process_time() - started}


def digest(state):
    """One hash of all weights, whatever prefix they have."""
    found = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name]
        found.update(f"{name.removeprefix('model.')} {tensor.dtype} {tuple(tensor.shape)}".encode())
        found.update(tensor.contiguous().flatten().view(tensor.dtype).numpy().tobytes())
    return found.hexdigest()


def tree(directory):
    """Everything below a directory: what would have been written is seen by it."""
    return {
        str(path.relative_to(directory)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in sorted(Path(directory).rglob("*"))
        if path.exists()
    }


def _too_long(*_):
    raise TooLongError


def _main():
    import torch

    from tests.saved import mutations

    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        job = json.loads(line)
        outcome = mutations.attempt(**job) if "seed" in job else attempt(**job)
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    _main()
