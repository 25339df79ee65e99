"""Of every module the ledger says what became of it, why, and what to do about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from icshift.analysis.by_site import summary
from icshift.analysis.drift import drift
from icshift.errors import RecordingError
from icshift.model.sites import Sites
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.model.test_sites import ledger, record
from tests.oracles.hooks import trained
from tests.zoo.models import CALLED_OTHERWISE, ZOO, Specimen, specimens

STATES = {
    "observed",
    "always 0 rows",
    "failed",
    "not a tensor",
    "bypassed",
    "bypassed in training",
    "in a copy",
    "never called",
    "excluded",
}


class Every(nn.Module):
    """Has a module for every fate but one."""

    def __init__(self) -> None:
        super().__init__()
        self.observed, self.never = nn.Linear(6, 5), nn.Linear(6, 5)
        self.forwarded, self.functional, self.bilinear = nn.Linear(5, 5), nn.Linear(5, 5), nn.Bilinear(5, 5, 5)
        self.attention, self.dropout = nn.MultiheadAttention(5, 1), nn.Dropout(0.1)
        self.norm_of_frozen, self.frozen = nn.LayerNorm(5), nn.Linear(5, 5).requires_grad_(False)
        self.growing = nn.Linear(5, 5)
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        x = self.forwarded.forward(self.observed(x))
        x = functional.linear(x, self.functional.weight, self.functional.bias)
        x = torch.einsum("bi,oij,bj->bo", x, self.bilinear.weight, x)
        x, _ = self.attention(x, x, x)
        x = functional.layer_norm(x, (5,), self.norm_of_frozen.weight, self.norm_of_frozen.bias)
        self.growing.weight.data = torch.ones(5 + self.steps // 2, 5)
        self.growing.bias.data = torch.ones(5 + self.steps // 2)
        return self.dropout(self.frozen.forward(x)) + self.growing(x)[:, :5]


def train(model: nn.Module, path: Path, *inputs: Any, steps: int = 3, **options: Any) -> StoredRun:
    # Without momentum and a growing layer's gradient: PyTorch's own optimizers refuse one that changes its shape.
    optimizer = torch.optim.SGD([p for n, p in model.named_parameters() if "growing" not in n], lr=0.01)
    with Recorder(model, path, optimizer=optimizer, **options):
        for _ in range(steps):
            model.zero_grad()
            model(*inputs).sum().backward()
            optimizer.step()
    return StoredRun(path)


def test_every_module_has_its_state(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="growing had 5 units"):
        run = train(Every(), tmp_path / "run", torch.randn(4, 6))
    assert {name: state for name, (state, _) in ledger(run).items()} == {
        "observed": "observed",
        "never": "never called",
        "forwarded": "bypassed",
        "functional": "bypassed",
        "bilinear": "bypassed",
        "attention": "observed",
        "attention.out_proj": "bypassed",
        "dropout": "excluded",
        "norm_of_frozen": "bypassed",
        "frozen": "never called",
        "growing": "failed",
    }
    assert [entry["type"] for entry in run.manifest["ledger"]][:4] == ["Linear", "Linear", "Linear", "Linear"]


@pytest.mark.some(16)
@pytest.mark.parametrize("specimen", [*ZOO, *CALLED_OTHERWISE], ids=lambda specimen: specimen.name)
def test_every_module_that_does_something_is_in_the_ledger_with_a_reason_where_it_needs_one(
    specimen: Specimen, tmp_path: Path
) -> None:
    run, oracle = trained(specimen, tmp_path / "run", steps=1)
    entries = run.manifest["ledger"]
    assert len({entry["module"] for entry in entries}) == len(entries), "two entries have the same name"
    for entry in entries:
        assert entry["state"] in STATES
        assert entry["type"]
        assert entry["reason"] or entry["state"] == "observed"
    owners = {site.name.split("#")[0].split("[")[0].removesuffix(".real").removesuffix(".imag") for site in run.sites}
    observed = {entry["module"] for entry in entries if entry["state"] == "observed"}
    assert owners == observed
    assert oracle.steps


@pytest.mark.parametrize(
    ("name", "state", "remedy"),
    [
        ("never", "never called", "was the model itself called?"),
        ("forwarded", "bypassed", "call the module, or watch its parent"),
        ("functional", "bypassed", "call the module, or watch its parent"),
        ("attention.out_proj", "bypassed", "the attention's own output is the site"),
    ],
)
def test_a_reason_tells_the_remedy(name: str, state: str, remedy: str, tmp_path: Path) -> None:
    run = train(Every(), tmp_path / "run", torch.randn(4, 6), steps=1)
    found, reason = ledger(run)[name]
    assert found == state
    assert remedy in reason


@pytest.mark.parametrize("sites", [None, "all"])
def test_bypassed_is_noticed_though_the_optimizer_drops_its_gradients(sites: Any, tmp_path: Path) -> None:
    """`zero_grad` sets them to None before the run is written."""
    model = Every()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with Recorder(model, tmp_path / "run", optimizer=optimizer, sites=sites):
        model(torch.randn(4, 6)).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert ledger(StoredRun(tmp_path / "run"))["functional"][0] == "bypassed"


class Attention(nn.Module):
    """Hands the weights of its parts to a function, as torchvision's windowed attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj, self.scale = nn.Linear(6, 18), nn.Linear(6, 6), nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = functional.linear(x, self.qkv.weight, self.qkv.bias).chunk(3, -1)
        mixed = functional.scaled_dot_product_attention(q, k, v) * self.scale
        return functional.linear(mixed, self.proj.weight, self.proj.bias)


class Windowed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(nn.ModuleDict({"norm": nn.LayerNorm(6), "attn": Attention()}) for _ in range(2))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block["attn"](block["norm"](x))
        return functional.linear(x, self.head.weight, self.head.bias)


def test_what_uses_the_weights_of_its_parts_itself_is_watched_from_the_second_step_on(tmp_path: Path) -> None:
    run = train(Windowed(), tmp_path / "run", torch.randn(5, 4, 6), window=2, steps=4)
    assert {name: state for name, (state, _) in ledger(run).items()} == {
        name: state
        for block in ("blocks.0", "blocks.1")
        for name, state in {
            f"{block}.norm": "observed",
            f"{block}.attn": "observed",
            f"{block}.attn.qkv": "bypassed",
            f"{block}.attn.proj": "bypassed",
        }.items()
    } | {"head": "bypassed"}
    assert "since parts of it were found to be bypassed" in ledger(run)["blocks.0.attn"][1]
    assert "the output of blocks.0.attn, which holds it, is recorded" in ledger(run)["blocks.0.attn.qkv"][1]
    rows = [run.distribution("train", "blocks.1.attn", window).count.tolist() for window in (1, 2)]
    assert rows == [[20] * 6, [40] * 6]
    sites = {site.name: site for site in run.sites}
    assert sites["blocks.0.attn"].unseen == sites["blocks.0.norm"].unseen == ""
    assert set(summary(run).site) == set(sites)


def test_chosen_sites_are_left_alone_whatever_is_bypassed(tmp_path: Path) -> None:
    run = train(Windowed(), tmp_path / "run", torch.randn(5, 4, 6), sites=["*.norm", "*.qkv"], window=1)
    assert {site.name for site in run.sites} == {"blocks.0.norm", "blocks.1.norm"}


class Tied(nn.Module):
    """Tied embeddings, of which T5 calls one, and a head that is tied to them, with a bias of its own or without."""

    def __init__(self, *, bias: bool) -> None:
        super().__init__()
        self.shared, self.encoder, self.head = nn.Embedding(9, 6), nn.Embedding(9, 6), nn.Linear(6, 9, bias=bias)
        self.encoder.weight = self.head.weight = self.shared.weight

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.encoder(x), self.head.weight, self.head.bias)


def test_weights_that_are_tied_to_those_of_a_called_module_do_not_show_a_call(tmp_path: Path) -> None:
    found = ledger(train(Tied(bias=False), tmp_path / "tied", torch.arange(9)))
    assert found["encoder"] == ("observed", "")
    for name in ("shared", "head"):
        state, reason = found[name]
        assert state == "never called"
        assert "its weights are those of encoder too, whose calls are recorded" in reason
    found = ledger(train(Tied(bias=True), tmp_path / "biased", torch.arange(9)))
    assert {name: state for name, (state, _) in found.items()} == {
        "shared": "never called",
        "encoder": "observed",
        "head": "bypassed",
    }


def test_what_was_bypassed_in_one_window_and_called_in_another_is_observed(tmp_path: Path) -> None:
    class Turning(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.head, self.calls = nn.Linear(4, 4), nn.Linear(4, 2), 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return self.head(self.linear(x) if self.calls > 2 else self.linear.forward(x))

    run = train(Turning(), tmp_path / "run", torch.ones(3, 4), steps=4, window=2)
    assert ledger(run)["linear"] == ("observed", "")


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("nothing", "NoneType, no tensor"),
        ("text", "str, no tensor"),
        ("generator", "generator, no tensor"),
        ("class", "type, no tensor"),
        ("numbers", "numbers of torch.int64"),
        ("scalar", "a single number"),
    ],
)
def test_what_is_not_a_tensor_of_activations_says_what_it_is(part: str, found: str, tmp_path: Path) -> None:
    run, _ = trained(specimens("parts_that_give_no_activations")[0], tmp_path / "run", sites=["body", f"odd.{part}"])
    assert ledger(run)[f"odd.{part}"] == ("not a tensor", f"it gave {found}; watch a module around it")


def test_a_module_that_gives_a_tensor_now_and_then_is_observed(tmp_path: Path) -> None:
    class Sometimes(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor | None:
            self.calls += 1
            return x if self.calls > 1 else None

    model = nn.Sequential(nn.Linear(4, 3), Sometimes())
    with Recorder(model, tmp_path / "run", sites="*") as recorder:
        for _ in range(2):
            model(torch.ones(5, 4))
            recorder.step()
    assert ledger(StoredRun(tmp_path / "run"))["1"] == ("observed", "")


def test_a_failure_is_told_though_it_was_observed_before(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run") as recorder:
        model(torch.ones(5, 4))
        recorder.step()
        model.weight = nn.Parameter(torch.ones(7, 4))
        model.bias = None
        with pytest.warns(RuntimeWarning, match="had 3 units"):
            model(torch.ones(5, 4))
    run = StoredRun(tmp_path / "run")
    assert ledger(run)["(model)"] == ("failed", "(model) had 3 units on axis 1, now its shape is [5, 7]")
    assert run.distribution("train", "(model)", 1).count.tolist() == [5] * 3


def test_all_names_of_a_shared_module_are_told(tmp_path: Path) -> None:
    run, _ = trained(specimens("one_layer_twice_in_a_list")[0], tmp_path / "run")
    assert ledger(run) == {
        "layers.0": ("observed", "the same module as layers.1: its calls are told apart by #2, #3, …"),
        "layers.2": ("observed", ""),
    }
    assert [site.name for site in run.sites] == ["layers.0", "layers.0#2", "layers.2"]


def test_parts_of_a_shared_module_have_their_names_too(tmp_path: Path) -> None:
    block = nn.Sequential(nn.Linear(4, 4))
    run = record(nn.Sequential(block, nn.ReLU(), block), tmp_path / "run", torch.ones(5, 4))
    assert "the same module as 2.0" in ledger(run)["0.0"][1]


def test_modules_that_left_or_came_or_were_replaced(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    with Recorder(model, tmp_path / "run") as recorder:
        for step in range(3):
            model(torch.ones(5, 4))
            recorder.step()
            if step == 0:
                model[1] = nn.LayerNorm(4)
                del model[2]
                model.append(nn.Identity())
                model.append(nn.Linear(4, 4))
    run = StoredRun(tmp_path / "run")
    assert ledger(run) == {
        "0": ("observed", ""),
        "1": ("observed", ""),
        "2": ("observed", "until another module took its name"),
        "3": ("observed", ""),
    }
    steps = run.steps("train")
    assert {name: sorted(set(rows.step)) for name, rows in steps.groupby("site")} == {
        "0": [0, 1, 2],
        "1": [0, 1, 2],
        "2": [0],
        "3": [1, 2],
    }


def test_a_module_that_left_before_it_was_called_is_not_in_the_ledger(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with Recorder(model, tmp_path / "run") as recorder:
        del model[1]
        model(torch.ones(5, 4))
        recorder.step()
    assert list(ledger(StoredRun(tmp_path / "run"))) == ["0"]


def test_what_is_excluded_says_why(tmp_path: Path) -> None:
    by_choice = record(nn.Sequential(nn.Linear(4, 3), nn.ReLU()), tmp_path / "choice", torch.ones(5, 4), sites="0")
    assert ledger(by_choice)["1"] == ("excluded", "not among the chosen sites")
    by_hand, _ = trained(specimens("lora_by_hand")[0], tmp_path / "hand")
    state, reason = ledger(by_hand)["0"]
    assert state == "excluded"
    assert "weights of its own" in reason
    assert "choose it by name" in reason
    chosen, _ = trained(specimens("lora_by_hand")[0], tmp_path / "chosen", sites=["0", "2"])
    assert {name: state for name, (state, _) in ledger(chosen).items() if name in ("0", "2")} == {
        "0": "observed",
        "2": "observed",
    }


def test_parametrisations_are_not_taken_for_layers(tmp_path: Path) -> None:
    for name in ("weight_norm", "lora_as_parametrization"):
        run, _ = trained(specimens(name)[0], tmp_path / name)
        states = {module: state for module, (state, _) in ledger(run).items()}
        assert states.pop("0") == "observed"
        assert {state for module, state in states.items() if "parametrizations" in module} == {"excluded"}


def test_what_was_compiled_with_the_recorder_is_observed(tmp_path: Path) -> None:
    torch.compiler.reset()
    model = nn.Sequential(nn.Linear(4, 3))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    compiled(torch.ones(5, 4))
    run = train(compiled, tmp_path / "run", torch.ones(5, 4))
    assert ledger(run) == {"0": ("observed", "")}


def test_an_error_that_nothing_was_recorded_tells_the_reason(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout())
    with pytest.raises(RecordingError, match=r"no forward went through it.*itself called\?$"):  # noqa: SIM117
        with Recorder(model, tmp_path / "run", strict=True):
            pass
    assert [state for state, _ in ledger(StoredRun(tmp_path / "run")).values()] == ["never called", "excluded"]


def test_a_site_with_an_axis_that_is_not_there_is_failed_and_was_never_one(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    with pytest.warns(RuntimeWarning, match="axis 4 is not there"):
        run = record(model, tmp_path / "run", torch.ones(5, 4), sites=Sites(axis={"1": 4}))
    assert ledger(run)["1"] == ("failed", "1 has 2 axes: axis 4 is not there")
    assert [site.name for site in run.sites] == ["0"]


def test_of_a_training_that_ends_before_its_first_layer_one_reason_is_told(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    recorder = Recorder(model, tmp_path / "run", strict=True)
    recorder.__enter__()
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        model(torch.ones(3, 5))
    with pytest.raises(RecordingError) as raised:
        recorder.__exit__(None, None, None)
    assert str(raised.value) == (
        f"nothing was recorded in {tmp_path / 'run'}: "
        "it is watched, but no forward went through it while recording; was the model itself called?"
    )


class Experts(nn.Module):
    """Sends each row to one of three experts, as a mixture does: `to` says which in every step."""

    def __init__(self, to: list[list[int]]) -> None:
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(4, 2) for _ in range(3)])
        self.to = iter(to)

    def forward(self, x: Tensor) -> Tensor:
        chosen = torch.tensor(next(self.to))
        return sum(expert(x[chosen == number]).sum() for number, expert in enumerate(self.experts))


def test_an_expert_without_rows_is_told_in_ledger_and_report(tmp_path: Path) -> None:
    """The second gets rows in the first window only, the third never."""
    model = Experts([[0, 0, 0, 0, 1, 1]] * 3 + [[0] * 6] * 3)
    run = train(model, tmp_path / "run", torch.randn(6, 4), steps=6, window=3)
    assert {name: state for name, (state, _) in ledger(run).items()} == {
        "experts.0": "observed",
        "experts.1": "observed",
        "experts.2": "always 0 rows",
    }
    table = summary(run).set_index("site")
    assert table["activations"].to_dict() == {"experts.0": 18, "experts.1": 0, "experts.2": 0}
    assert table["no_data"].to_dict() == {"experts.0": False, "experts.1": True, "experts.2": True}
    assert table.loc[["experts.1", "experts.2"], ["near_constant", "drift", "mean", "window"]].isna().all(axis=None)
    windows = run.windows()
    rows = windows[windows["unit"] == 0].set_index(["site", "window"])["count"]
    assert rows.to_dict() == {("experts.0", 1): 12, ("experts.0", 2): 18, ("experts.1", 1): 6}
    assert set(drift(run, sites=["experts.0"])["activations"]) == {18}
