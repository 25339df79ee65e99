"""What is recorded of models that are used in ways of their own, and what is refused, with the reason."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import Partial, Replicate, Shard, distribute_tensor, init_device_mesh
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.optim.swa_utils import AveragedModel
from torch.overrides import TorchFunctionMode
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils._python_dispatch import TorchDispatchMode

from icshift.errors import RecordingError
from icshift.model.sites import Sites
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.reports.run import run_report
from icshift.runs.reader import StoredRun
from tests.model.test_sites import ledger, names, record
from tests.oracles.hooks import assert_moments, by_unit, trained
from tests.zoo.models import CALLED_OTHERWISE, ZOO, specimens
from tests.zoo.modules import Fragile, Jagged, Parted, TwiceUsed


def counts(run: StoredRun, phase: str = "train") -> dict[str, int]:
    """Activations of a unit of every site in the first window."""
    return {site.name: int(run.distribution(phase, site.name, 1).count[0]) for site in run.sites}


def steps_of(run: StoredRun, site: str) -> list[int]:
    return sorted(set(run.steps("train", [site]).step))


def train_altered(name: str, path: Path, **options: Any) -> StoredRun:
    """Train a specimen that changes after its second step, four steps long."""
    specimen = specimens(name)[0]
    model, make_batch = specimen.build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    rng = np.random.default_rng(7)
    with Recorder(model, path, optimizer=optimizer, **options):
        for step in range(4):
            args, kwargs = make_batch(rng)
            specimen.loss(model(*args, **kwargs)).backward()
            optimizer.step()
            specimen.alter(model, optimizer, step)
    return StoredRun(path)


def test_a_layer_that_comes_is_recorded_from_then_on(tmp_path: Path) -> None:
    run = train_altered("layer_appended", tmp_path / "run")
    assert {name: steps_of(run, name) for name in names(run)} == {"0": [0, 1, 2, 3], "2": [0, 1, 2, 3], "3": [2, 3]}
    assert {state for state, _ in (ledger(run)[name] for name in ("0", "2", "3"))} == {"observed"}


def test_a_layer_of_another_width_ends_its_site_and_leaves_the_others(tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match="0 had 8 units on axis 1, now its shape is"):
        run = train_altered("layers_replaced_by_wider_ones", tmp_path / "run")
    assert {name: steps_of(run, name) for name in names(run)} == {"0": [0, 1], "2": [0, 1, 2, 3]}
    state, reason = ledger(run)["0"]
    assert state == "failed"
    assert "8 units" in reason
    assert ledger(run)["2"] == ("observed", "")


def test_a_layer_that_goes_is_recorded_until_then(tmp_path: Path) -> None:
    run = train_altered("layer_removed", tmp_path / "run")
    assert steps_of(run, "3") == [0, 1]
    assert steps_of(run, "2") == [0, 1, 2, 3]
    assert ledger(run)["3"] == ("observed", "until it left the model")


def test_forwards_that_raise_are_over_and_those_that_follow_begin_anew(tmp_path: Path) -> None:
    model = Fragile()
    with Recorder(model, tmp_path / "run", sites="*") as recorder:
        for _ in range(8):
            try:
                model(torch.ones(5, 6))
            except ValueError:
                continue
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {"body": 40, "head": 30, "(model)": 30}


def test_a_part_that_was_interrupted_is_not_taken_for_one_that_goes_on(tmp_path: Path) -> None:
    """PyTorch tells a hook of exceptions, but not of this one; the model as a whole is never called."""

    class Interrupted(TwiceUsed):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            if self.calls == 2:
                raise KeyboardInterrupt
            return super().forward(x)

    model = Parted()
    model.encoder = Interrupted()
    with Recorder(model, tmp_path / "run", sites="*") as recorder:
        for _ in range(4):
            try:
                model.decoder(model.encoder(torch.ones(5, 6)))
            except KeyboardInterrupt:
                continue
            recorder.step()
    assert [name for name in names(StoredRun(tmp_path / "run")) if name.startswith("encoder")] == [
        "encoder.first",
        "encoder.relu",
        "encoder.second",
        "encoder.relu#2",
        "encoder",
    ]


def test_the_calls_of_a_model_that_calls_itself_are_told_apart(tmp_path: Path) -> None:
    run, _ = trained(specimens("recursive")[0], tmp_path / "run", sites="*", steps=1)
    calls = ["", *(f"#{number}" for number in range(2, 14))]
    assert names(run) == [*(f"step{call}" for call in calls), "head", *(f"(model){call}" for call in calls)]


def test_parts_are_called_in_forwards_of_their_own(tmp_path: Path) -> None:
    for name in ("parts_called_by_the_loop", "parts_in_a_dictionary"):
        run, _ = trained(specimens(name)[0], tmp_path / name, sites="all")
        encoder = ["encoder.first", "encoder.relu", "encoder.second", "encoder.relu#2"]
        assert [site for site in names(run) if site.startswith("encoder")] == encoder
        assert any(site.startswith("decoder") for site in names(run))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data_parallel", ["0", "1", "2"]),
        ("checkpoint_wrapped", ["0", "1.0", "2"]),
        ("averaged_model", ["module.0", "module.1", "module.2"]),
        ("lora_by_hand", ["0.linear", "2"]),
        ("lora_as_parametrization", ["0", "2"]),
        ("weights_of_its_own_beside_a_part", ["0", "1"]),
        ("quantisation_aware", ["0", "3"]),
        ("gives_none", ["linear"]),
        (
            "lora_of_peft",
            [
                *(
                    f"base_model.model.first{part}"
                    for part in (".base_layer", ".lora_A.default", ".lora_B.default", "")
                ),
                "base_model.model.second",
            ],
        ),
    ],
)
def test_sites_have_the_names_that_their_author_knows(name: str, expected: list[str], tmp_path: Path) -> None:
    run, _ = trained(specimens(name)[0], tmp_path / "run")
    assert names(run) == expected


def test_a_run_of_very_many_sites_can_be_read(tmp_path: Path) -> None:
    run, _ = trained(specimens("fan_out")[0], tmp_path / "run", steps=2)
    assert len(run.sites) == 150
    assert len(run.steps("train")) == 150 * 2 * 2


def test_an_average_of_a_watched_model_records_nothing(tmp_path: Path) -> None:
    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run"):
        average = AveragedModel(model)
        model(torch.ones(5, 4))
        average.update_parameters(model)
        average(torch.ones(50, 4))
    assert counts(StoredRun(tmp_path / "run")) == {"(model)": 5}


def test_a_model_within_a_data_parallel_is_recorded_as_itself(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    run = record(nn.DataParallel(model), tmp_path / "run", torch.ones(5, 4), sites="*")
    assert names(run) == ["0", "(model)"]


@pytest.mark.parametrize("shapes", [[(4,), (3, 4)], [(3, 4), (4,)], [(3, 4), (3, 5, 4), (2, 3, 3, 4)]])
def test_a_model_may_be_called_on_batches_and_on_single_examples(shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    """As a policy is: on what it sees, to act, and on a batch of it, to learn. The batch is as large as the layer."""
    model, inputs = nn.Sequential(nn.Linear(4, 3), nn.Tanh()), [torch.randn(shape) for shape in shapes]
    with Recorder(model, tmp_path / "run", samples="all", sites="0") as recorder:
        seen = [model[0](x).detach().reshape(-1, 3).double().numpy() for x in inputs]
        recorder.step()
    assert_moments(StoredRun(tmp_path / "run").distribution("train", "0", 1), np.concatenate(seen))


# Function transforms


@pytest.mark.some(3)
@pytest.mark.parametrize("samples", [2, "all"])
@pytest.mark.parametrize("name", ["vmapped", "vmapped_twice", "gradients_of_every_sample"])
def test_within_function_transforms_every_example_is_recorded(name: str, samples: Any, tmp_path: Path) -> None:
    specimen = specimens(name)[0]
    transformed, _ = trained(specimen, tmp_path / "run", sites="*", samples=samples, steps=1)

    def call(model: nn.Module, x: Tensor) -> Tensor:
        return model(x.reshape(-1, x.shape[-1]))

    plain, oracle = trained(specimen._replace(call=call), tmp_path / "plain", sites="*", samples=samples, steps=1)
    assert sorted(names(transformed)) == sorted(names(plain))
    for site in plain.sites:
        expected = by_unit(oracle.steps[0][site.name], site)
        assert_moments(transformed.distribution("train", site.name, 1), expected)


def test_layers_that_a_transform_passes_by_are_recorded_too(tmp_path: Path) -> None:
    """Only the second layer's parameters are transformed: the first gives plain tensors in the midst of it."""
    model, x = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), torch.randn(30, 4)
    with Recorder(model, tmp_path / "run", samples=4, sites=Sites(max_units=2)) as recorder:
        parameters = {name: parameter.detach() for name, parameter in model[1].named_parameters(prefix="1")}
        grad(lambda some: functional_call(model, some, (x,)).square().sum())(parameters)
        recorder.step()
    assert counts(StoredRun(tmp_path / "run")) == {"0": 30, "1": 30}


def test_complex_numbers_within_a_transform(tmp_path: Path) -> None:
    class Conjugated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 3, dtype=torch.complex64)

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(x).conj()

    model, x = Conjugated(), torch.randn(6, 4, dtype=torch.complex64)
    with Recorder(model, tmp_path / "run", sites="*", samples="all") as recorder:
        y = vmap(model)(x).detach().resolve_conj()
        recorder.step()
    run = StoredRun(tmp_path / "run")
    for part in ("real", "imag"):
        assert_moments(run.distribution("train", f"(model).{part}", 1), getattr(y, part).double().numpy())


def test_an_ensemble_made_of_a_copy_is_no_forward_of_the_model(tmp_path: Path) -> None:
    models = [nn.Linear(4, 3), nn.Linear(4, 3)]
    base = copy.deepcopy(models[0]).to("meta")
    strict = Recorder(models[0], tmp_path / "run", strict=True)
    with pytest.raises(RecordingError, match="no forward went through it"), strict:
        vmap(lambda *state: functional_call(base, state, (torch.ones(5, 4),)))(*stack_module_state(models))


# Tensors of other kinds


def test_of_jagged_sequences_every_position_is_recorded(tmp_path: Path) -> None:
    model, x = Jagged(), torch.randn(20, 6)
    with Recorder(model, tmp_path / "run", samples="all") as recorder:
        for lengths in ([2, 3, 4], [5, 1], [7]):
            model(x, lengths).sum().backward()
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert [(site.axis, site.units) for site in run.sites] == [(2, 8), (2, 8), (2, 3)]
    values = [model.first(x[:n]).detach().double().numpy() for n in (9, 6, 7)]
    assert_moments(run.distribution("train", "first", 1), np.concatenate(values))


class Narrowed(nn.Module):
    """Gives a nested tensor with holes between its sequences."""

    def forward(self, x: Tensor) -> Tensor:
        starts, lengths = torch.zeros(3, dtype=torch.int64), torch.tensor([2, 3, 4])
        return torch.nested.narrow(x, 1, starts, lengths, layout=torch.jagged)


class Nested(nn.Module):
    def __init__(self, layout: torch.layout = torch.jagged, *, transposed: bool = False) -> None:
        super().__init__()
        self.layout, self.transposed = layout, transposed

    def forward(self, x: Tensor) -> Tensor:
        nested = torch.nested.nested_tensor([row[:n] for row, n in zip(x, (2, 3, 4), strict=True)], layout=self.layout)
        return nested.transpose(1, 2) if self.transposed else nested


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("nesting", [Narrowed(), Nested(), Nested(torch.strided)])
def test_holes_between_sequences_are_no_activations(nesting: nn.Module, tmp_path: Path) -> None:
    x = torch.randn(3, 5, 4)
    run = record(nn.Sequential(nesting), tmp_path / "run", x, sites="0", samples="all")
    expected = torch.cat([row[:n] for row, n in zip(x, (2, 3, 4), strict=True)]).double().numpy()
    assert_moments(run.distribution("train", "0", 1), expected)


@pytest.mark.parametrize(
    ("nesting", "options", "reason"),
    [
        (Nested(), {"sites": Sites("0", axis={"0": 1})}, "name another axis"),
        (Nested(transposed=True), {"sites": "0"}, "sequences lie on axis 2"),
    ],
)
def test_nested_tensors_without_units_are_refused(
    nesting: nn.Module, options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    model = nn.Sequential(nesting)
    with pytest.warns(RuntimeWarning, match=reason), pytest.raises(RecordingError, match=reason):
        record(model, tmp_path / "run", torch.randn(3, 5, 4), strict=True, **options)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_a_transformers_evaluation_on_padded_sequences_is_recorded_without_the_padding(tmp_path: Path) -> None:
    """PyTorch packs them into nested tensors of the older layout where no gradients are needed."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model, x = nn.TransformerEncoder(layer, 2).eval(), torch.randn(3, 5, 8)
    is_padding = torch.arange(5)[None] >= torch.tensor([[2], [5], [4]])
    with torch.no_grad():
        expected = model(x, src_key_padding_mask=is_padding)
        with Recorder(model, tmp_path / "run", samples="all"):
            found = model(x, src_key_padding_mask=is_padding)
    torch.testing.assert_close(found, expected)
    run = StoredRun(tmp_path / "run")
    assert set(counts(run, "eval").values()) == {2 + 5 + 4}
    assert_moments(run.distribution("eval", "layers.1.norm2", 1), expected[~is_padding].double().numpy(), 1e-4)


@pytest.mark.filterwarnings("ignore:.*quantize:UserWarning")
def test_quantised_activations_are_recorded_as_the_numbers_they_stand_for(tmp_path: Path) -> None:
    class Quantise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)

    x = torch.randn(20, 4)
    run = record(nn.Sequential(Quantise()), tmp_path / "run", x, sites="0", samples="all")
    assert_moments(run.distribution("train", "0", 1), (x / 0.1).round().double().numpy() * 0.1)


def give(result: Any) -> nn.Module:
    """A model whose second part gives a result that is made of its input."""

    class Giving(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return result(x)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.giving = nn.Linear(4, 3), Giving()

        def forward(self, x: Tensor) -> Tensor:
            y = self.linear(x)
            self.giving(y.detach())
            return y

    return Model()


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda y: y.to_sparse(), "torch.sparse_coo: only dense tensors are recorded; watch a module after it"),
        (lambda y: y.to_mkldnn(), "torch._mkldnn"),
        (lambda y: TwoTensor(y, y.clone()), "TwoTensor, which wraps others; watch a module after it"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(result: Any, reason: str, tmp_path: Path) -> None:
    with pytest.warns(RuntimeWarning, match=reason):
        run = record(give(result), tmp_path / "run", torch.randn(5, 4), sites=["linear", "giving"])
    assert names(run) == ["linear"]
    state, told = ledger(run)["giving"]
    assert state == "failed"
    assert reason in told


@pytest.fixture
def mesh() -> Iterator[Any]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("placement", "reason"),
    [(Replicate(), None), (Shard(0), None), (Shard(1), "units are split"), (Partial(), "partial sum")],
)
def test_of_distributed_tensors_this_process_records_its_part(
    placement: Any, reason: str | None, mesh: Any, tmp_path: Path
) -> None:
    def result(y: Tensor) -> Any:
        made = distribute_tensor(y, mesh, [Replicate()])
        return made.redistribute(placements=[placement]) if not placement.is_partial() else _partial(y, mesh)

    if reason is None:
        run = record(give(result), tmp_path / "run", torch.randn(5, 4), sites="giving")
        assert counts(run) == {"giving": 5}
    else:
        with pytest.warns(RuntimeWarning, match=reason):
            run = record(give(result), tmp_path / "run", torch.randn(5, 4), sites=["linear", "giving"])
        assert names(run) == ["linear"], "nothing of it was recorded, not even once"
        assert reason in ledger(run)["giving"][1]


def _partial(y: Tensor, mesh: Any) -> Any:
    from torch.distributed.tensor import DTensor

    return DTensor.from_local(y, mesh, [Partial()])


@pytest.mark.parametrize("sites", [None, "*"])
def test_a_model_on_the_meta_device_has_no_activations(sites: Any, tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).to("meta")
    inputs = torch.ones(5, 4, device="meta")
    with pytest.raises(RecordingError, match="meta device"):
        record(model, tmp_path / "run", inputs, sites=sites, mask=lambda x: x[:, 0] > 0, strict=True)


def test_fake_forwards_of_a_real_model_are_passed_over(tmp_path: Path) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    model = nn.Linear(4, 3)
    with Recorder(model, tmp_path / "run") as recorder:
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            model(mode.from_tensor(torch.ones(50, 4)))
        model(torch.ones(5, 4))
        recorder.step()
    assert counts(StoredRun(tmp_path / "run")) == {"(model)": 5}


def test_numbers_too_small_for_gradients_are_recorded_as_they_are(tmp_path: Path) -> None:
    x = torch.randn(8, 4)
    run = record(give(lambda y: y.to(torch.float8_e4m3fn)), tmp_path / "run", x, sites="giving", samples="all")
    found = run.distribution("train", "giving", 1)
    assert found.count.tolist() == [8] * 3
    assert np.isfinite(found.mean).all()


# Outputs of a kind that a hook cannot foresee


@dataclass
class Unfinished:
    logits: Tensor
    late: Tensor = field(init=False)


def test_a_dataclass_with_a_field_that_was_never_set(tmp_path: Path) -> None:
    run = record(give(Unfinished), tmp_path / "run", torch.ones(5, 4), sites="giving")
    assert names(run) == ["giving.logits"]


class Broken(dict[str, Tensor]):
    def items(self) -> Any:
        raise RuntimeError("not now")


class Obstinate(Tensor):
    @classmethod
    def __torch_function__(cls, *_: Any, **__: Any) -> Any:
        raise TypeError("not with me")


def in_itself(y: Tensor) -> list[Any]:
    result: list[Any] = [y]
    result.append(result)
    return result


@pytest.mark.parametrize("result", [lambda _: Broken(), in_itself, lambda y: Tensor._make_subclass(Obstinate, y)])
def test_an_output_that_cannot_be_looked_through_does_not_end_the_training(result: Any, tmp_path: Path) -> None:
    run = record(give(result), tmp_path / "run", torch.ones(5, 4), sites=["linear", "giving"])
    assert counts(run)["linear"] == 5
    assert ledger(run)["giving"][0] in ("failed", "observed")


def test_a_selector_that_raises_later_does_not_end_the_training(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3))

    def select(name: str, _: nn.Module) -> bool:
        return {"0": True, "(model)": False}[name]

    with Recorder(model, tmp_path / "run", sites=select) as recorder:
        model(torch.ones(5, 4))
        recorder.step()
        model.append(nn.Linear(3, 2))
        model(torch.ones(5, 4))


def test_a_layer_that_comes_where_only_single_layers_are_called(tmp_path: Path) -> None:
    model = nn.ModuleDict({"a": nn.Linear(4, 4)})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, tmp_path / "run", optimizer=optimizer):
        for _ in range(3):
            y = model["a"](torch.ones(5, 4))
            (model["b"](y) if "b" in model else y).sum().backward()
            optimizer.step()
            model["b"] = nn.Linear(4, 2)
    assert names(StoredRun(tmp_path / "run")) == ["a", "b"]


# The user's own tools


class Logging(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **kwargs or {})


class LoggingCalls(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(function))
        return function(*args, **kwargs or {})


class Logged(Tensor):
    seen: list[str] = []  # noqa: RUF012

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.seen.append(str(function))
        return super().__torch_function__(function, types, args, kwargs)


@pytest.mark.parametrize(
    "mode",
    [
        Logging,
        LoggingCalls,
    ],
)
def test_a_mode_of_the_users_sees_nothing_of_the_recording(mode: Any, tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.BatchNorm2d(3)), torch.randn(5, 2, 20, 20)

    def seen() -> list[str]:
        with mode() as logging:
            model(x)
        return logging.seen

    expected = seen()
    with Recorder(model, tmp_path / "run", sites=Sites("*", max_units=2), samples=8) as recorder:
        assert seen() == expected
        recorder.step()
    assert counts(StoredRun(tmp_path / "run"))["0"] == 5 * 18 * 18


def test_a_tensor_of_the_users_own_kind_sees_nothing_of_the_recording(tmp_path: Path) -> None:
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ReLU()), torch.randn(100, 4).as_subclass(Logged)

    def seen() -> list[str]:
        Logged.seen.clear()
        model(x)
        return list(Logged.seen)

    expected = seen()
    with Recorder(model, tmp_path / "run", sites="*", samples=8) as recorder:
        assert seen() == expected
        recorder.step()
    assert counts(StoredRun(tmp_path / "run"))["0"] == 100


def test_defaults_of_the_process_do_not_matter(tmp_path: Path) -> None:
    model, x = nn.Linear(4, 3), torch.randn(100, 4)
    with torch.device("meta"), Recorder(model, tmp_path / "run", samples=8) as recorder:
        torch.set_default_dtype(torch.float64)
        try:
            with torch.inference_mode():
                model(x)
            model(x).sum().backward()
            recorder.step()
        finally:
            torch.set_default_dtype(torch.float32)
    run = StoredRun(tmp_path / "run")
    assert counts(run) == counts(run, "no-grad") == {"(model)": 100}


def test_a_probe_of_a_model_whose_first_forward_resizes_its_buffers(tmp_path: Path) -> None:
    model, make_batch = specimens("quantisation_aware")[0].build()
    (_, kwargs) = make_batch(np.random.default_rng(7))
    with Recorder(model, tmp_path / "run", probe=Probe(kwargs)) as recorder:
        model(**kwargs)
        recorder.epoch()
    assert "probe" in StoredRun(tmp_path / "run").phases


# Models that are large in their own way


def test_a_module_shared_under_very_many_names_is_named_by_some(tmp_path: Path) -> None:
    """A pair of pairs of pairs: the number of names doubles with every level."""

    class Pair(nn.Module):
        def __init__(self, part: nn.Module) -> None:
            super().__init__()
            self.left = self.right = part

        def forward(self, x: Tensor) -> Tensor:
            return self.left(x)

    model = nn.Linear(4, 4)
    for _ in range(40):
        model = Pair(model)
    run = record(model, tmp_path / "run", torch.ones(5, 4))
    assert names(run) == [".".join(["left"] * 40)]


def test_a_model_that_is_a_part_of_itself_is_recorded_once(tmp_path: Path) -> None:
    model = TwiceUsed()
    model._modules["itself"] = model
    run = record(model, tmp_path / "run", torch.ones(5, 6))
    assert counts(run) == {"first": 5, "second": 5}


def test_every_specimen_has_a_name_of_its_own() -> None:
    every = [specimen.name for specimen in (*ZOO, *CALLED_OTHERWISE)]
    assert len(set(every)) == len(every)
    assert len(every) >= 80


class Decoder(nn.Module):
    """It makes a sequence of any length, a step at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor, steps: int) -> Tensor:
        state = torch.zeros(len(x), 4)
        for _ in range(steps):
            state = self.cell(x, state)
            x = self.head(state)
        return x


def test_the_many_calls_of_a_decoder_are_few_sites(tmp_path: Path) -> None:
    model = Decoder()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for name, sites in (("run", None), ("three", Sites(max_calls=3))):
        with Recorder(model, tmp_path / name, sites=sites):
            for length in (20, 30):
                model(torch.randn(5, 3), length).sum().backward()
                optimizer.step()
    run = StoredRun(tmp_path / "run")
    assert len(run.sites) == 2 * 16
    expected = {1: 10, 2: 10, 15: 10, 16: 5 * (5 + 15)}
    found = counts(run)
    assert {n: found["head" + (f"#{n}" if n > 1 else "") + ("+" if n == 16 else "")] for n in expected} == expected
    assert [site.name for site in StoredRun(tmp_path / "three").sites] == [
        f"{module}{call}" for call in ("", "#2", "#3+") for module in ("cell", "head")
    ]
    [note] = run_report(run).notes
    assert note == "One site for all calls in a forward from the number in its name on: cell#16+, head#16+"
