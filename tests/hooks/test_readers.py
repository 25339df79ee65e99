"""What reads an output, read from the graph: every way to call an activation, and what only seems to be one."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from icshift.hooks.observer import SEED, Observer
from icshift.hooks.readers import Graph, Readers, graph_alone, place_of
from icshift.hooks.watcher import Keeper, Watcher
from icshift.model.sites import Sites

ACTIVATIONS = {
    "ReLU": [
        functional.relu,
        torch.relu,
        lambda y: y.relu(),
        lambda y: y.relu_(),
        lambda y: functional.relu(y, inplace=True),
        lambda y: y.clamp(min=0),
        lambda y: y.clamp_(min=0),
        lambda y: torch.clamp_min(y, 0),
        lambda y: functional.threshold(y, 0, 0),
        lambda y: functional.relu(functional.max_pool2d(y[None], 2)),
        lambda y: functional.relu(y.view(2, 2, -1).transpose(0, 1)),
        lambda y: functional.relu(torch.cat([y, torch.ones(4, 6)])),
        nn.ReLU(),
    ],
    "ReLU6": [functional.relu6, lambda y: y.clamp(0, 6), nn.ReLU6()],
    "Sigmoid": [torch.sigmoid, functional.sigmoid, lambda y: y.sigmoid_()],
    "Tanh": [torch.tanh, functional.tanh, lambda y: y.tanh()],
    "Hardsigmoid": [functional.hardsigmoid],
    "Hardtanh": [functional.hardtanh, lambda y: y.clamp(-1, 1)],
    "GELU": [functional.gelu],
    "SiLU": [functional.silu],
    "ELU": [functional.elu, functional.selu],
    "LeakyReLU": [functional.leaky_relu],
    "Softplus": [functional.softplus],
}

PART = "mul reads it, and may be part of a rectifier"
OTHERS = {
    "rectifier by a mask": (lambda y: y * (y > 0), Readers((), ("mul",), PART)),
    "leaky without a leak": (lambda y: functional.leaky_relu(y, 0.0), Readers(("ReLU",))),
    "residual": (lambda y: functional.relu(y) + y, Readers(("ReLU",), ("add",))),
    "swish written out": (lambda y: y * torch.sigmoid(y), Readers(("Sigmoid",), ("mul",), PART)),
    "both signs": (lambda y: torch.cat([functional.relu(y), functional.relu(-y)]), Readers(("ReLU",), ("neg",))),
    "two functions": (lambda y: functional.gelu(y) + functional.relu(y), Readers(("ReLU", "GELU"))),
    "a norm": (lambda y: functional.layer_norm(y, [6]), Readers((), ("native_layer_norm",))),
    "a gate of GELU": (lambda y: y[:, :3] * functional.gelu(y[:, 3:]), Readers((), ("slice",))),
    "a clamp elsewhere": (lambda y: y.clamp(-2, 3), Readers((), (), "clamp reads it, and what that does is not known")),
    "returned": (lambda y: y.view(2, -1), Readers()),
    "a gate": (
        lambda y: y[:, :3] * torch.sigmoid(y[:, 3:]),
        Readers(unseen="Sigmoid reads a part or a multiple of it"),
    ),
    "scaled": (lambda y: functional.relu(2 * y), Readers(unseen="ReLU reads a part or a multiple of it")),
    "a maximum": (
        lambda y: torch.maximum(y, torch.zeros(())),
        Readers(unseen="maximum reads it, and what that does is not known"),
    ),
    "detached": (
        lambda y: functional.relu(y.detach()) + torch.ones(1, requires_grad=True),
        Readers(unseen="nothing that its forward returned was computed from it"),
    ),
}


def read_by(act):
    layer = nn.Linear(6, 6)
    y = layer(torch.randn(4, 6))
    place = place_of(y)
    return Graph([act(y)]).readers([place])


@pytest.mark.parametrize(("name", "act"), [(name, act) for name, acts in ACTIVATIONS.items() for act in acts])
def test_an_activation_is_known_however_it_is_called(name, act):
    assert read_by(act) == Readers((name,))


@pytest.mark.parametrize(("act", "expected"), OTHERS.values(), ids=OTHERS)
def test_what_else_reads_it(act, expected):
    found = read_by(act)
    assert (set(found.activations), found.others, found.unseen) == (
        set(expected.activations),
        expected.others,
        expected.unseen,
    )


def test_functions_of_others_are_not_known():
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(_, x):
            return x.clamp(min=0)

        @staticmethod
        def backward(_, gradient):
            return gradient

    assert "CustomBackward reads it" in read_by(Custom.apply).unseen
    assert (
        "CheckpointFunctionBackward reads it"
        in read_by(lambda y: checkpoint(functional.relu, y, use_reentrant=True)).unseen
    )
    assert read_by(lambda y: checkpoint(functional.relu, y, use_reentrant=False)) == Readers(("ReLU",))


def test_nothing_that_was_saved_is_unpacked():
    """To unpack may cost a copy from the host, or computing all anew."""
    unpacked = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, unpacked.append):
        assert read_by(lambda y: y.clamp(min=torch.zeros(6))).unseen
        assert read_by(functional.relu) == Readers(("ReLU",))
    assert not unpacked


def test_a_graph_alone_keeps_no_activation_and_frozen_parameters_stay_frozen():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6))
    model[0].weight.requires_grad_(False)
    with torch.no_grad(), graph_alone(model):
        first = model[0](torch.randn(4, 6))
        result = model[2](model[1](first))
    assert Graph([result]).readers([place_of(first)]) == Readers(("ReLU",))
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, True, True, True]
    with pytest.raises((TypeError, RuntimeError)):
        result.sum().backward()


class Functional(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc, self.drop = nn.Conv2d(1, 4, 3), nn.Linear(36, 8), nn.Dropout(0.5)
        self.out = nn.Linear(8, 2)

    def forward(self, x):
        x = functional.relu(functional.max_pool2d(self.drop(self.conv(x)), 2))
        return self.out(torch.tanh(self.fc(x.flatten(1))))


def watched(model, around=lambda call: call()):
    """The entries of the sites of a model, by name, after a training forward within `around`."""
    observer = Observer(Sites(), 8, SEED, lambda *_: None)

    def take(site, module, tensor, *_):
        observer.observe(site, module, tensor, "train", stepping=False)

    watcher = Watcher(model, Sites(), observer, Keeper(take, lambda _: observer.tick(0, stepping=False), print))
    with watcher.listening():
        around(lambda: model(torch.randn(5, 1, 8, 8)))
    sites = watcher.state()["sites"]
    watcher.close()
    return {site["name"]: (site["feeds"], site["others"], site["unseen"]) for site in sites}


class Logged(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.calls.append(function)
        return function(*args, **(kwargs or {}))


KNOWN = {"conv": (("ReLU",), (), ""), "fc": (("Tanh",), (), ""), "out": ((), ("(output)",), "")}


def with_full_backward_hooks(call, model):
    model.fc.register_full_backward_hook(lambda *_: None)
    call()


def in_a_thread(call, _):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def after_an_evaluation(call, _):
    with torch.no_grad():
        call()
    call()


@pytest.mark.parametrize(
    "around",
    [lambda call, _: call(), with_full_backward_hooks, in_a_thread, after_an_evaluation],
    ids=["plain", "full backward hooks", "a thread", "after an evaluation"],
)
def test_a_model_without_activation_modules_is_known(around):
    model = Functional()
    assert watched(model, lambda call: around(call, model)) == KNOWN


def test_a_mode_of_the_user_sees_no_other_calls_than_before():
    model, seen = Functional(), []
    torch.manual_seed(0)
    for watch in (False, True):
        with Logged() as mode:
            if watch:
                assert watched(model) == KNOWN
            else:
                model(torch.randn(5, 1, 8, 8))
        seen.append(
            [
                function
                for function in mode.calls
                if function in (functional.relu, torch.tanh, functional.linear, torch.flatten)
            ]
        )
    assert seen[0] == seen[1]


def test_what_has_no_graph_is_said_to_have_none():
    model = Functional()
    assert all("no gradients were computed" in unseen for *_, unseen in watched(model, torch.no_grad()).values())
    for parameter in model.conv.parameters():
        parameter.requires_grad_(False)
    found = watched(model)
    assert found["conv"][2].startswith("no gradients were computed through it: it is frozen")
    assert {name: found[name] for name in ("fc", "out")} == {name: KNOWN[name] for name in ("fc", "out")}


def test_parts_that_are_called_alone_are_read_by_somebody_outside():
    model = Functional()
    found = watched(model, lambda _: torch.relu(model.fc(torch.randn(5, 36))))
    assert found == {"fc": ((), (), "it is read outside of any forward of the model")}


def test_vmap_gradients_of_functions_and_errors_do_no_harm():
    model = Functional().eval()
    x = torch.randn(5, 1, 1, 8, 8)
    expected = torch.stack([model(each) for each in x])

    def run(_):
        with pytest.raises(RuntimeError):
            model(torch.zeros(5, 7, 8, 8))
        assert torch.allclose(torch.vmap(model)(x), expected, atol=1e-6)
        parameters = dict(model.named_parameters())
        torch.func.grad(lambda p: torch.func.functional_call(model, p, (x[0],)).sum())(parameters)
        model(x[0])

    assert watched(model, run) == KNOWN


def test_the_look_at_the_graph_changes_no_bit_of_the_training():
    trained = []
    for watch in (False, True):
        torch.manual_seed(1)
        model = Functional()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

        def train(_, model=model, optimizer=optimizer):
            for _ in range(3):
                model(torch.randn(5, 1, 8, 8)).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()

        if watch:
            watched(model, train)
        else:
            train(None)
        trained.append(list(model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*trained, strict=True))


def test_what_is_compiled_is_not_known_and_runs_as_before():
    torch.manual_seed(0)
    model, x = Functional().eval(), torch.randn(5, 1, 8, 8)
    expected = model(x)
    compiled = torch.compile(model, backend="eager")
    found = watched(model, lambda _: torch.testing.assert_close(compiled(x), expected))
    assert all("compiled" in unseen and not feeds for feeds, _, unseen in found.values())
    torch.compiler.reset()
