"""A mask leaves positions out wherever a site has them: what is recorded is what a plain hook saw of the others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import vmap

from icshift.model.sites import Sites
from icshift.record.recorder import Recorder
from icshift.runs.format import Site
from icshift.runs.reader import StoredRun
from tests.model.test_sites import ledger, record
from tests.oracles.hooks import assert_moments, assert_step

BATCH, TIME = 5, 7

Mask = Callable[..., Any]


class Tagger(nn.Module):
    """A sequence in every layout: [batch, time, units], channel first, made flat, pooled, and as a matrix of scores."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(11, 6), nn.LayerNorm(6)
        self.conv, self.relu = nn.Conv1d(6, 4, 3, padding=1), nn.ReLU(inplace=True)
        self.flat, self.pooled, self.scores = nn.Linear(4, 8), nn.Linear(8, 3), nn.Identity()

    def forward(self, ids: Tensor) -> Tensor:
        x = self.norm(self.embed(ids))
        x = self.relu(self.conv(x.transpose(1, 2))).transpose(1, 2)
        y = self.flat(x.reshape(-1, 4)).reshape(len(ids), -1, 8)
        self.scores(y @ y.mT)
        return self.pooled(y.mean(1))


def is_zero(ids: Tensor) -> Tensor:
    """The token 0 is padding."""
    return ids == 0


def begins_with_zero(ids: Tensor) -> Tensor:
    return ids[:, 0] == 0


def batches() -> list[Tensor]:
    """The last one of another length."""
    rng = np.random.default_rng(3)
    lengths = [TIME, TIME, TIME - 2]
    found = [torch.from_numpy(rng.integers(0, 4, (BATCH, length))) for length in lengths]
    for ids in found:
        ids[0, 0], ids[1, 0] = 0, 1  # Something is masked, by either mask, and something is not.
    return found


class Seen:
    """Copies of what plain hooks see, as [batch, time, units] or without the time where there is none."""

    def __init__(self, model: Tagger) -> None:
        self.steps: list[dict[str, Tensor]] = []
        for name, module in model.named_children():
            module.register_forward_hook(lambda _, __, output, name=name: self._saw(name, output))

    def _saw(self, name: str, output: Tensor) -> None:
        found = output.detach().clone()
        if name in ("conv", "relu"):
            found = found.transpose(1, 2)
        if name == "flat":
            found = found.reshape(BATCH, -1, 8)
        self.steps[-1][name] = found

    def expected(self, name: str, mask: Mask, step: int, ids: Tensor) -> NDArray[np.float64]:
        values, left_out = self.steps[step][name], mask(ids)
        # What was made flat begins with no batch: a mask of the batch alone does not fit it.
        if values.ndim == 3 if left_out.ndim == 2 else name != "flat":
            values = values[~left_out]
        return values.reshape(-1, values.shape[-1]).double().numpy()


def trained(path: Path, mask: Mask, compiled: bool = False, **options: Any) -> tuple[StoredRun, Seen]:
    """Train a tagger under a recorder and plain hooks."""
    torch.manual_seed(7)
    model = Tagger()
    called = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
    if compiled:
        torch.compiler.reset()
    seen = Seen(model) if not compiled else None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, path, optimizer=optimizer, mask=mask, sites=Sites("all", {"conv": 1, "relu": 1}), **options):
        for ids in batches():
            if seen:
                seen.steps.append({})
            optimizer.zero_grad()
            called(ids).square().sum().backward()
            optimizer.step()
    return StoredRun(path), seen


masks = pytest.mark.parametrize("mask", [is_zero, begins_with_zero], ids=["batch and time", "batch"])


def without_scores(run: StoredRun) -> list[Site]:
    """Scores are as wide as the sequence is long, so with the last batch they end."""
    return [site for site in run.sites if site.name != "scores"]


@masks
def test_every_step_is_what_a_plain_hook_saw_at_the_positions_that_are_kept(mask: Mask, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="scores had 7 units"):
        run, seen = trained(tmp_path / "run", mask, samples="all")
    assert [site.name for site in without_scores(run)] == ["embed", "norm", "conv", "relu", "flat", "pooled"]
    steps = run.steps("train")
    for site in without_scores(run):
        for number, ids in enumerate(batches()):
            rows = steps[(steps.site == site.name) & (steps.step == number)]
            assert_step(rows, seen.expected(site.name, mask, number, ids))


@masks
def test_moments_leave_them_out_too_however_few_values_are_sampled(mask: Mask, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="scores had 7 units"):
        run, seen = trained(tmp_path / "run", mask, samples=2)
    for site in without_scores(run):
        values = [seen.expected(site.name, mask, number, ids) for number, ids in enumerate(batches())]
        assert_moments(run.distribution("train", site.name, 1), np.concatenate(values))


@pytest.mark.some(1)
@masks
def test_within_a_compiled_model_the_same_is_left_out(mask: Mask, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="scores had 7 units"):
        eager, _ = trained(tmp_path / "eager", mask)
    with pytest.warns(RuntimeWarning, match="scores had 7 units"):
        compiled, _ = trained(tmp_path / "compiled", mask, compiled=True)
    for site in without_scores(eager):
        found, expected = (run.distribution("train", site.name, 1) for run in (compiled, eager))
        assert found.count.tolist() == expected.count.tolist()
        np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.values, expected.values, rtol=1e-4, atol=1e-5)


def test_a_compiled_model_that_is_called_with_keywords(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3)

        def forward(self, x: Tensor, *, left_out: Tensor) -> Tensor:
            return self.linear(x) * ~left_out[..., None]

    torch.compiler.reset()
    model = Model()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    left_out = torch.tensor([[False, False, True], [False, True, True]])
    with Recorder(model, tmp_path / "run", mask=lambda _, *, left_out: left_out) as recorder:
        for _ in range(2):
            compiled(torch.ones(2, 3, 4), left_out=left_out)
            recorder.step()
    assert StoredRun(tmp_path / "run").distribution("train", "linear", 1).count.tolist() == [6] * 3


def test_sites_without_these_axes_are_recorded_whole(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="scores had 7 units"):
        run, _ = trained(tmp_path / "run", is_zero)
    assert run.distribution("train", "pooled", 1).count.tolist() == [3 * BATCH] * 3
    kept = sum(int((ids != 0).sum()) for ids in batches())
    assert run.distribution("train", "flat", 1).count.tolist() == [kept] * 8


class Layouts(nn.Module):
    """Gives its input in some other layout."""

    def __init__(self, layout: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layout, self.part = layout, nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.part(self.layout(x))


@pytest.mark.some(5)
@pytest.mark.parametrize(
    ("layout", "axis", "kept"),
    [
        (lambda x: x, 2, 3),
        (lambda x: x.transpose(1, 2), 1, 3),
        (lambda x: x.permute(2, 0, 1), 0, 3),
        (lambda x: x.flatten(0, 1), 1, 3),
        (lambda x: x[:, :, None].expand(2, 4, 5, 3), 3, 15),
        (lambda x: x.transpose(1, 2)[..., None].expand(2, 3, 4, 5), 1, 15),
        (lambda x: x.transpose(0, 1), 2, 8),
        (lambda x: x.sum(1), 1, 2),
        (lambda x: x.sum((0, 1)), 0, 1),
        (lambda x: x[:, :3], 2, 6),
        (lambda x: x[:1], 2, 4),
    ],
)
def test_positions_are_known_by_the_axes_that_lie_beside_the_units(
    layout: Callable[[Tensor], Tensor], axis: int, kept: int, tmp_path: Path
) -> None:
    """Two sequences of four positions, of which three are kept, with three units."""
    model = Layouts(layout)
    x = torch.randn(2, 4, 3)
    x[0, 1:], x[1, :2] = 100, 100
    options: dict[str, Any] = {"sites": Sites("part", {"part": axis}), "samples": "all"}
    run = record(model, tmp_path / "run", x, mask=lambda x: x[..., 0] == 100, **options)
    found = run.distribution("train", "part", 1)
    assert found.count.tolist() == [kept] * 3
    if kept in (3, 15):
        assert (found.max < 100).all(), "a masked position was recorded"


def test_where_nothing_is_left_nothing_is_recorded(tmp_path: Path) -> None:
    model, optimizer_steps = nn.Sequential(nn.Linear(4, 3)), 3
    with Recorder(model, tmp_path / "run", mask=lambda x: x[:, 0] > 0) as recorder:
        for step in range(optimizer_steps):
            model(torch.full((5, 4), 1.0 if step == 1 else -1.0))
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert run.manifest["steps"] == optimizer_steps, "the step in which nothing was left counts"
    assert run.steps("train").groupby("step")["count"].first().to_dict() == {0: 5, 2: 5}


def test_a_mask_for_each_forward(tmp_path: Path) -> None:
    """Two forwards a step; in eval mode, and in a probe, too."""
    model = nn.Sequential(nn.Linear(4, 3))
    probe = torch.cat([torch.ones(3, 4), -torch.ones(2, 4)])
    with Recorder(model, tmp_path / "run", mask=lambda x: x[:, 0] < 0, probe=probe) as recorder:
        model(torch.ones(5, 4))
        model(-torch.ones(7, 4))
        model(torch.cat([torch.ones(2, 4), -torch.ones(7, 4)]))
        recorder.step()
        model.eval()
        model(torch.cat([torch.ones(4, 4), -torch.ones(7, 4)]))
        recorder.epoch()
    run = StoredRun(tmp_path / "run")
    assert {phase: int(run.distribution(phase, "0", 1).count[0]) for phase in run.phases} == {
        "train": 7,
        "eval": 4,
        "probe": 3,
    }


def test_a_part_called_alone_knows_no_mask(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 2)))
    with Recorder(model, tmp_path / "run", mask=lambda x: x[:, 0] > 0) as recorder:
        model(torch.cat([torch.ones(5, 4), -torch.ones(2, 4)]))
        model[1](torch.ones(7, 3))
        recorder.step()
    run = StoredRun(tmp_path / "run")
    assert [int(run.distribution("train", name, 1).count[0]) for name in ("0", "1.0")] == [2, 9]


def test_a_mask_gets_what_the_model_gets(tmp_path: Path) -> None:
    got: list[Any] = []

    def mask(*args: Any, **kwargs: Any) -> Tensor:
        got.append((args, kwargs))
        return kwargs["attention_mask"] == 0

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(11, 3)

        def forward(self, ids: Tensor, note: str, *, attention_mask: Tensor) -> Tensor:
            return self.embed(ids) * attention_mask[..., None] * len(note)

    model, ids = Model(), torch.ones(2, 4, dtype=torch.int64)
    attention = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0]])
    with Recorder(model, tmp_path / "run", mask=mask) as recorder:
        model(ids, "note", attention_mask=attention)
        recorder.step()
    assert StoredRun(tmp_path / "run").distribution("train", "embed", 1).count.tolist() == [5] * 3
    ((args, kwargs),) = got
    assert args[0] is ids
    assert args[1] == "note"
    assert kwargs["attention_mask"] is attention


def test_within_vmap_and_without_a_mask_leaves_out_the_same(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(4, 3)), torch.randn(6, 5, 4)
    left_out = x[..., 0] > 0
    with Recorder(model, tmp_path / "run", mask=lambda x: x[..., 0] > 0, samples="all") as recorder:
        y = vmap(model)(x).detach()
        vmap(vmap(model))(x)
        model(x)
        recorder.step()
    expected = y[~left_out].repeat(3, 1).double().numpy()
    assert_moments(StoredRun(tmp_path / "run").distribution("train", "0", 1), expected)


def test_a_mask_without_values_masks_nothing(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    run = record(model, tmp_path / "run", torch.ones(5, 4), mask=lambda x: (x[:, 0] > 0).to("meta"))
    assert run.distribution("train", "(model)", 1).count.tolist() == [5] * 3


def test_a_mask_that_is_none_masks_nothing(tmp_path: Path) -> None:
    model, x = nn.Linear(4, 3), torch.cat([torch.ones(3, 4), -torch.ones(2, 4)])
    with Recorder(model, tmp_path / "run", mask=lambda x: x[:, 0] > 0 if len(x) == 5 else None) as recorder:
        model(x)
        model(x[:4])
        recorder.step()
    assert StoredRun(tmp_path / "run").distribution("train", "(model)", 1).count.tolist() == [2 + 4] * 3


def fails(_: Tensor) -> Tensor:
    raise ZeroDivisionError("in the mask")


def quiet() -> Any:
    return warnings.catch_warnings(action="error", category=RuntimeWarning)


UNUSABLE = {
    "raises": (fails, "in the mask"),
    "integers": (lambda x: (x[:, 0] > 0).long(), "a tensor of torch.int64"),
    "reals": (lambda x: x[:, 0], "a tensor of torch.float32"),
    "a single truth": (lambda x: (x > 0).any(), "with 0 axes"),
    "a list": (lambda _: [True] * 5, "list"),
    "a text": (lambda _: "mask", "str"),
    "too many arguments": (lambda a, b: a == b, "missing"),
    "sparse": (lambda x: (x > 0).to_sparse(), "sparse"),
}

NOT_TRACED = {"too many arguments", "sparse"}
"""The compiler itself refuses to trace these: it is the user's function that it says so of."""

unusable = pytest.mark.parametrize(
    ("kind", "compiled"),
    [(kind, on) for on in (False, True) for kind in UNUSABLE if not (on and kind in NOT_TRACED)],
)


@pytest.mark.some(5)
@unusable
def test_a_mask_that_cannot_be_used_ends_the_recording_in_a_warning_and_not_the_training(
    kind: str, compiled: bool, tmp_path: Path
) -> None:
    mask, reason = UNUSABLE[kind]
    if compiled and kind in ("raises", "a list", "a text"):
        reason = "it gave no tensor"
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    if compiled:
        torch.compiler.reset()
    called = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(model, tmp_path / "run", optimizer=optimizer, mask=mask)
    outputs = []
    with recorder:
        for step in range(3):
            with quiet() if step else pytest.warns(RuntimeWarning, match=f"stopped recording.*mask.*{reason}"):
                outputs.append(called(torch.ones(5, 4)))
            outputs[-1].sum().backward()
            optimizer.step()
    assert len(outputs) == 3
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_what_was_recorded_before_a_mask_failed_is_kept(tmp_path: Path) -> None:
    model, calls = nn.Linear(4, 3), []

    def mask(x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 3:
            raise ValueError("later")
        return x[:, 0] > 0

    with Recorder(model, tmp_path / "run", mask=mask) as recorder:
        for window in range(3):
            with pytest.warns(RuntimeWarning, match="later") if window == 2 else quiet():
                model(-torch.ones(5, 4))
            recorder.epoch()
    run = StoredRun(tmp_path / "run")
    assert run.distribution("train", "(model)", 1).count.tolist() == [5] * 3
    assert run.distribution("train", "(model)", 2).count.tolist() == [5] * 3
    assert run.distribution("train", "(model)", 3) is None
    assert not run.finished
    assert run.manifest["stopped"]["reason"] == "the mask cannot be used: ValueError: later"
    assert ledger(run)["(model)"][0] == "observed"


def test_training_with_a_mask_is_bit_identical(tmp_path: Path) -> None:
    def weights(mask: Mask | None) -> list[Tensor]:
        torch.manual_seed(7)
        model = Tagger()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        sites = ["embed", "conv", "flat"]
        with Recorder(model, tmp_path / str(mask is None), optimizer=optimizer, mask=mask, sites=sites):
            for ids in batches():
                optimizer.zero_grad()
                model(ids).square().sum().backward()
                optimizer.step()
        return [*model.parameters(), torch.get_rng_state()]

    assert all(map(torch.equal, weights(None), weights(is_zero)))


def test_each_tensor_of_an_output_is_masked_by_its_own_axes(tmp_path: Path) -> None:
    class Model(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"hidden": x, "pooled": x.mean(1)}

    x = torch.ones(2, 4, 3)
    x[0, 1:] = -1
    run = record(Model(), tmp_path / "run", x, sites="*", mask=lambda x: x[..., 0] < 0)
    counts = {site.name: run.distribution("train", site.name, 1).count.tolist() for site in run.sites}
    assert counts == {"(model).hidden": [5] * 3, "(model).pooled": [2] * 3}


class Reader(nn.Module):
    """Called as models of Hugging Face are: with more arguments than a mask has use for, by keywords."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(11, 3), nn.Linear(3, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        kept = 1 if attention_mask is None else attention_mask[..., None]
        return self.head(self.embed(input_ids) * kept) * (1 if labels is None else 2)


@pytest.mark.some(4)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "mask",
    [
        lambda input_ids: input_ids == 0,
        lambda attention_mask: attention_mask == 0,
        lambda ids: ids == 0,
        lambda input_ids, **_: input_ids == 0,
    ],
)
def test_a_mask_takes_what_it_needs_of_a_call_with_keywords(
    mask: Callable[..., Tensor], compiled: bool, tmp_path: Path
) -> None:
    model, ids = Reader(), torch.tensor([[4, 5, 6, 0], [7, 8, 0, 0]])
    call = torch.compile(model, backend="eager", fullgraph=True) if compiled else model
    with Recorder(model, tmp_path / "run", mask=mask) as recorder:
        call(labels=ids, attention_mask=(ids > 0).long(), input_ids=ids).sum().backward()
        recorder.step()
    assert StoredRun(tmp_path / "run").distribution("train", "embed", 1).count.tolist() == [5] * 3
