"""Many damaged files: each is refused in one line or is what it was, and none does anything else."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from packaging.version import Version

from icshift.saved.find import find
from icshift.saved.load import load
from tests.covering import often
from tests.saved import attempts, zoo

EACH = often(15, 150)
BUILT = often(25, 100)
INSIDE = ("torch", "nested", "lightning", "exported")
WORKERS = often(1, 2)
CHECKED = ("torch", "nested", "lightning", "distributed", "exported", "sharded_bin")
"""Formats with checksums: what is not refused holds the very weights that were saved."""


AT_REST = {"exported inside"} if Version(torch.__version__) < Version("2.8") else set()
"""Most records of these are the program, which is not read."""


@pytest.fixture(scope="module")
def outcomes(saved, vit, tmp_path_factory):
    """What came of every damaged file, by format."""
    jobs = [(name, {"source": str(path), "seed": seed}) for name, path in saved.items() for seed in range(EACH)]
    jobs += [("huggingface", {"source": str(vit), "seed": seed, "build": True}) for seed in range(BUILT)]
    jobs += [
        (f"{name} inside", {"source": str(saved[name]), "seed": seed, "inside": True})
        for name in INSIDE
        for seed in range(EACH)
    ]
    cwd = tmp_path_factory.mktemp("cwd")

    def work(worker):
        target = tmp_path_factory.mktemp(f"target{worker}")
        mine = [job | {"target": str(target)} for _, job in jobs[worker::WORKERS]]
        return attempts.run(mine, cwd)

    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(work, range(WORKERS)))
    assert not list(cwd.iterdir())
    found = {name: [] for name, _ in jobs}
    for worker, mine in enumerate(answers):
        for (name, job), outcome in zip(jobs[worker::WORKERS], mine, strict=True):
            found[name].append(outcome | {"seed": job["seed"]})
    return found


def test_there_are_enough(outcomes):
    assert sum(map(len, outcomes.values())) >= 13 * EACH
    kinds = Counter(outcome["kind"] for mine in outcomes.values() for outcome in mine)
    assert min(kinds.values()) > EACH / 2


@pytest.mark.parametrize("name", [*zoo.FORMATS, "huggingface", *(f"{name} inside" for name in INSIDE)])
def test_each_is_refused_in_one_line_or_is_a_model(outcomes, name):
    assert [outcome for outcome in outcomes[name] if outcome["outcome"] == "failed"] == []
    refused = sum(outcome["outcome"] == "refused" for outcome in outcomes[name])
    assert refused > len(outcomes[name]) / (4 if name not in AT_REST else 100)


@pytest.mark.parametrize("name", CHECKED)
def test_what_is_let_through_is_unchanged(outcomes, saved, name):
    original = attempts.digest(load(*find([saved[name]])).state)
    assert {outcome["digest"] for outcome in outcomes[name] if outcome["outcome"] == "ok"} <= {original}


def test_none_takes_long(outcomes):
    assert max(outcome["seconds"] for mine in outcomes.values() for outcome in mine) < attempts.BUSY
