"""Forwards as scripts make them, and the phases that they are recorded under."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

import icshift
from icshift.analysis.by_site import summary
from icshift.analysis.metrics import METRICS
from icshift.record.recorder import Recorder
from icshift.reports.drift import drift_report
from icshift.reports.run import run_report
from tests.reports.shown import words


class Task(nn.Module):
    """A network with its loss: what an optimizer trains, while evaluations call the network alone."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x, y):
        return functional.cross_entropy(self.net(x), y)


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))


def recording(model, tmp_path, **options):
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    return Recorder(model, tmp_path / "run", optimizer=optimizer, **options), optimizer


def rows(tmp_path, site):
    """How many rows a window and phase of a site has."""
    found = icshift.open(tmp_path / "run").windows()
    found = found[(found["site"] == site) & (found["unit"] == 0)]
    return {(row.window, row.phase): row.count for row in found.itertuples(index=False)}


def step(loss, optimizer):
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def test_a_network_that_is_evaluated_without_its_task_is_no_training(tmp_path):
    task = Task(net := network())
    recorder, optimizer = recording(task, tmp_path)
    with recorder:
        for _ in range(2):
            net.train()
            for x in torch.randn(4, 32, 8):
                step(task(x, torch.zeros(32, dtype=torch.long)), optimizer)
            net.eval()
            with torch.no_grad():
                net(torch.randn(64, 8))
            recorder.epoch()
    assert rows(tmp_path, "net.0") == {(1, "train"): 128, (1, "eval"): 64, (2, "train"): 128, (2, "eval"): 64}
    assert recorder.steps == 8


@pytest.mark.parametrize("without", [torch.no_grad, torch.inference_mode])
def test_an_agent_that_acts_is_no_training(tmp_path, without):
    agent = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    recorder, optimizer = recording(agent, tmp_path)
    with recorder:
        for _ in range(3):
            for _ in range(10):
                with without():
                    agent(torch.randn(1, 4) + 5).argmax()
            step(agent(torch.randn(32, 4)).square().mean(), optimizer)
        recorder.epoch()
    assert rows(tmp_path, "0") == {(1, "train"): 96, (1, "no-grad"): 30}
    assert recorder.steps == 3
    steps = icshift.open(tmp_path / "run").steps(sites=["0"])
    assert set(steps["phase"]) == {"train"}
    assert set(steps["count"]) == {32}


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_checkpointing_computes_without_gradients_is_training(tmp_path, reentrant):
    model = network()
    recorder, optimizer = recording(model, tmp_path)
    with recorder:
        for _ in range(3):
            x = torch.randn(32, 8, requires_grad=True)
            step(checkpoint(model, x, use_reentrant=reentrant).square().mean(), optimizer)
        with torch.no_grad():
            checkpoint(model, torch.randn(5, 8), use_reentrant=reentrant)
        recorder.epoch()
    assert rows(tmp_path, "3") == {(1, "train"): 96, (1, "no-grad"): 5}
    assert recorder.steps == 3


@pytest.mark.some(1)
@pytest.mark.parametrize("whole", [True, False])
def test_what_is_compiled_is_told_apart_too(tmp_path, whole):
    """Within a compiled graph gradients are always off."""
    agent = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    recorder, optimizer = recording(agent, tmp_path)
    call = torch.compile(agent if whole else lambda x: agent[2](agent[0](x).relu()), backend="aot_eager")
    with recorder:
        for _ in range(2):
            with torch.no_grad():
                call(torch.randn(7, 4))
            step(call(torch.randn(7, 4)).square().mean(), optimizer)
        agent.eval()
        call(torch.randn(7, 4))
        recorder.epoch()
    assert rows(tmp_path, "0") == {(1, "train"): 14, (1, "no-grad"): 14, (1, "eval"): 7}


class Probing(nn.Module):
    """A head on features of a frozen network, each called on its own."""

    def __init__(self):
        super().__init__()
        self.features = network().requires_grad_(requires_grad=False)
        self.head = nn.Sequential(nn.Linear(2, 4), nn.ReLU())


def test_a_frozen_network_is_evaluated_when_its_model_is(tmp_path):
    model = Probing()
    recorder, optimizer = recording(model, tmp_path)
    with recorder:
        for _ in range(2):
            model.train()
            model.features.eval()
            step(model.head(model.features(torch.randn(9, 8))).sum(), optimizer)
            model.eval()
            model.head(model.features(torch.randn(5, 8)))
        recorder.epoch()
    assert rows(tmp_path, "features.0") == {(1, "train"): 18, (1, "eval"): 10}
    assert rows(tmp_path, "head.0") == {(1, "train"): 18, (1, "eval"): 10}


class Agent(nn.Module):
    """Its networks are parts of a part, which is called by itself."""

    def __init__(self):
        super().__init__()
        self.nets = nn.ModuleDict({"policy": nn.Sequential(network(), nn.Linear(2, 2))})


def test_a_part_of_a_part_may_be_what_is_called(tmp_path):
    agent = Agent()
    net = agent.nets["policy"][0]
    recorder, optimizer = recording(agent, tmp_path)
    with recorder:
        for _ in range(2):
            net.train()
            for x in torch.randn(4, 32, 8):
                step(net(x).square().mean(), optimizer)
            net.eval()
            for x in torch.randn(3, 10, 8):
                net(x)
            recorder.epoch()
    assert rows(tmp_path, "nets.policy.0.1") == {
        (window, phase): count for window in (1, 2) for phase, count in (("train", 128), ("eval", 30))
    }
    # What was called is known, so that the examples of a window are, from the second call on.
    assert icshift.open(tmp_path / "run").window_list[1].seen("eval") is not None
    assert not any(module._forward_pre_hooks for module in agent.modules())


class ForwardForward(nn.Module):
    """Each layer learns by itself, through its `forward`; only predictions call it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 4)])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x).relu()
        return x


@pytest.mark.parametrize("predicting", ["while it trains", "in eval mode", "in the end"])
def test_trained_without_being_called_is_said_and_the_steps_are_counted(tmp_path, predicting):
    model = ForwardForward()
    recorder, optimizer = recording(model, tmp_path)
    with recorder:
        for _ in range(20):
            x = torch.randn(32, 8)
            loss = sum(
                layer.forward(x).square().mean() + (x := layer.forward(x).relu().detach()).sum() * 0
                for layer in model.layers
            )
            step(loss, optimizer)
            if predicting == "in eval mode":
                model.eval()(torch.randn(5, 8))
                model.train()
            if predicting == "while it trains":
                with torch.no_grad():
                    model(torch.randn(5, 8))
        if predicting == "in the end":
            model(torch.randn(5, 8))
    run = icshift.open(tmp_path / "run")
    assert run.manifest["steps"] == recorder.steps == 20
    assert run.manifest["unheard_steps"] == 20
    assert "20 (20 of them after no forward with gradients that was heard)" in words(run_report(run))
    states = {entry["module"]: (entry["state"], entry["reason"]) for entry in run.manifest["ledger"]}
    assert {state for state, _ in states.values()} == {"bypassed in training"}


def test_an_evolution_strategy_is_recorded_and_its_steps_are_counted(tmp_path):
    model = network()
    recorder = Recorder(model, tmp_path / "run")
    with recorder, torch.no_grad():
        for _ in range(4):
            for _ in range(3):
                model(torch.randn(32, 8))
            recorder.step()
        recorder.epoch()
    assert rows(tmp_path, "0") == {(1, "no-grad"): 4 * 3 * 32}
    assert (recorder.steps, recorder.windows) == (4, 1)
    run = icshift.open(tmp_path / "run")
    report = drift_report(run, summary(run), METRICS["w1_sd"])
    assert "phase no-grad" in report.heading
    assert 'There were no others: where a training needs no gradients, recorder.phase("train")' in report.notes[-1]


def test_gradients_of_ones_own_making_step_an_optimizer(tmp_path):
    model = network()
    recorder, optimizer = recording(model, tmp_path)
    with recorder, torch.no_grad():
        for _ in range(4):
            model(torch.randn(32, 8))
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
    assert rows(tmp_path, "0") == {(1, "no-grad"): 4 * 32}
    assert recorder.steps == 4
    assert {entry["state"] for entry in icshift.open(tmp_path / "run").manifest["ledger"]} == {"observed", "excluded"}


class Averaging(nn.Module):
    """A task with an average of its network, as of timm: trained is the network, evaluated are both."""

    def __init__(self, *, frozen):
        super().__init__()
        self.net = network()
        self.ema = copy.deepcopy(self.net).eval()
        if frozen:
            self.ema.requires_grad_(requires_grad=False)

    def forward(self, x):
        with torch.no_grad():
            target = self.ema(x)
        return (self.net(x) - target).square().mean() + self.net(x).mean()

    @torch.no_grad()
    def follow(self):
        for average, parameter in zip(self.ema.parameters(), self.net.parameters(), strict=True):
            average.lerp_(parameter, 0.1)


@pytest.mark.parametrize("frozen", [True, False])
def test_an_average_that_is_evaluated_is_left_out_and_that_is_said(tmp_path, frozen):
    task = Averaging(frozen=frozen)
    recorder, optimizer = recording(task, tmp_path)
    with recorder:
        for _ in range(2):
            for x in torch.randn(4, 32, 8):
                step(task(x), optimizer)
                task.follow()
            task.eval()
            with torch.no_grad():
                task.net(torch.randn(64, 8))
                task.ema(torch.randn(64, 8))
            task.net.train()
            task.train()
            task.ema.eval()
            recorder.epoch()
    run = icshift.open(tmp_path / "run")
    assert [site.name for site in run.sites] == [f"net.{n}{call}" for call in ("", "#2") for n in (0, 1, 3)]
    assert rows(tmp_path, "net.0")[2, "eval"] == 64
    states = {entry["module"]: (entry["state"], entry["reason"]) for entry in run.manifest["ledger"]}
    assert states["ema.0"][0] == "in a copy"
    assert states["ema.0"][1].startswith("ema is a copy of net that is not trained")
    assert states["ema.2"][0] == "excluded"  # An activation function would not be watched in the original either.
    assert "3 in a copy" in words(run_report(run))


def test_a_copy_that_is_chosen_or_trained_later_is_recorded(tmp_path):
    task = Averaging(frozen=True)
    recorder, optimizer = recording(task, tmp_path, sites="ema.*")
    with recorder:
        step(task(torch.randn(32, 8)), optimizer)
    assert rows(tmp_path, "ema.0") == {(1, "train"): 32}
    model = nn.ModuleDict({"one": nn.Linear(8, 4)})
    model["two"] = copy.deepcopy(model["one"])
    recorder, optimizer = recording(model, tmp_path, force=True)
    with recorder:
        for name in ("one", "two", "two"):
            step(model[name](torch.randn(10, 8)).sum(), optimizer)
            recorder.epoch()
    assert rows(tmp_path, "two") == {(2, "train"): 10}


def test_a_recording_that_begins_before_a_step_knows_what_is_called_from_then_on(tmp_path):
    model = network()
    recorder, optimizer = recording(model, tmp_path)
    model(torch.randn(8, 8)).sum().backward()
    with recorder:
        optimizer.step()
        for _ in range(3):
            step(model(torch.randn(8, 8)).sum(), optimizer)
    run = icshift.open(tmp_path / "run")
    assert (run.manifest["steps"], run.manifest["unheard_steps"]) == (4, 1)
    assert {entry["state"] for entry in run.manifest["ledger"]} == {"observed", "excluded"}


def test_a_training_in_eval_mode_is_called_all_the_same(tmp_path):
    model = network().eval()
    recorder, optimizer = recording(model, tmp_path)
    with recorder:
        for _ in range(3):
            step(model(torch.randn(8, 8)).sum(), optimizer)
    assert rows(tmp_path, "0") == {(1, "eval"): 24}
    assert recorder.steps == 3
    assert {entry["state"] for entry in icshift.open(tmp_path / "run").manifest["ledger"]} == {"observed", "excluded"}
