"""Which modules are watched, what their sites are called and where their units are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from icshift.errors import RecordingError
from icshift.model.sites import Sites, as_sites, choose_sites
from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.oracles.hooks import assert_moments, assert_step, by_unit, trained
from tests.zoo.models import specimens


def record(model: nn.Module, path: Path, *inputs: Any, **options: Any) -> StoredRun:
    with Recorder(model, path, **options) as recorder:
        model(*inputs)
        recorder.step()
    return StoredRun(path)


def names(run: StoredRun) -> list[str]:
    return [site.name for site in run.sites]


def ledger(run: StoredRun) -> dict[str, tuple[str, str]]:
    return {entry["module"]: (entry["state"], entry["reason"]) for entry in run.manifest["ledger"]}


@pytest.mark.some(6)
@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("conv1d", {"0": (1, 4), "1": (1, 4), "3": (1, 2)}),
        ("conv2d", {"0": (1, 4), "1": (1, 4), "3": (1, 5), "4": (1, 5), "7": (1, 2)}),
        ("conv3d", {"0": (1, 3), "1": (1, 3)}),
        ("channels_last", {"0": (1, 4), "1": (1, 4), "3": (1, 2)}),
        ("residual", {"stem": (1, 8), "blocks.0.0": (1, 8), "blocks.0.1": (1, 8), "head": (1, 3)}),
        ("lstm", {"(model)": (2, 5)}),
        ("gru", {"(model)": (2, 10)}),
        ("packed_sequence", {"rnn": (1, 5)}),
        ("embedding_mean", {"embed": (2, 6), "head": (1, 3)}),
        ("attention", {"attention": (2, 8), "head": (2, 3)}),
        ("encoder_layer", {"self_attn": (2, 8), "linear1": (2, 16), "norm1": (2, 8)}),
        ("decoder", {"embed": (2, 8), "qkv": (2, 24), "norm": (2, 8)}),
        ("weight_norm", {"0": (1, 8), "2": (1, 3)}),
    ],
)
def test_units_lie_along_the_axis_of_the_layers_kind(
    name: str, axes: dict[str, tuple[int, int]], tmp_path: Path
) -> None:
    run, _ = trained(specimens(name)[0], tmp_path / "run", steps=1)
    found = {site.name: (site.axis, site.units) for site in run.sites}
    assert {site: found.get(site) for site in axes} == axes


@pytest.mark.parametrize(
    ("module", "shape", "axis"),
    [
        (nn.Linear(6, 4), (2, 3, 5, 6), 3),
        (nn.LayerNorm(6), (2, 3, 5, 6), 3),
        (nn.Linear(6, 4), (6,), 0),
        (nn.Conv2d(6, 4, 1), (6, 5, 5), 0),
        (nn.Conv1d(6, 4, 1), (6, 5), 0),
        (nn.BatchNorm1d(6), (2, 6, 5), 1),
        (nn.ReLU(), (2, 3, 5, 6), 1),
        (nn.ReLU(), (2, 3, 6), 2),
        (nn.ReLU(), (2, 6), 1),
    ],
)
def test_units_are_found_in_every_layout_a_layer_takes(
    module: nn.Module, shape: tuple[int, ...], axis: int, tmp_path: Path
) -> None:
    run = record(nn.Sequential(module), tmp_path / "run", torch.randn(shape), sites="0", samples="all")
    output = module(torch.randn(shape))
    units = output.shape[axis]
    assert (run.sites[0].axis, run.sites[0].units) == (axis, units)
    assert run.distribution("train", "0", 1).count.tolist() == [output.numel() // units] * units


def test_the_unit_axis_can_be_overridden_by_pattern(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2), nn.Linear(2, 2))
    run = record(model, tmp_path / "run", torch.randn(3, 5, 6), sites=Sites(axis={"0": 1, "[01]": -3}))
    assert [(site.axis, site.units) for site in run.sites] == [(1, 5), (0, 3), (2, 2)]
    assert run.distribution("train", "0", 1).count.tolist() == [12] * 5


def test_an_axis_that_is_not_there_ends_that_site_alone(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    with pytest.warns(RuntimeWarning, match="axis 5"):
        run = record(model, tmp_path / "run", torch.randn(3, 6), sites=Sites(axis={"0": 5}))
    assert names(run) == ["1"]
    assert ledger(run)["0"][0] == "failed"


def test_by_default_modules_with_weights_and_normalisation_layers_are_watched(tmp_path: Path) -> None:
    model = nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8, elementwise_affine=False), nn.ReLU(), nn.Dropout(), nn.Linear(8, 3)
    )
    run = record(model, tmp_path / "run", torch.randn(5, 6))
    assert names(run) == ["0", "1", "4"]
    assert [site.normalises for site in run.sites] == [False, True, False]


NETWORK = nn.Sequential(
    nn.Sequential(nn.Linear(6, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 8), nn.Tanh()), nn.Linear(8, 3)
)


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("0.*", ["0.0", "0.1"]),
        ("2", ["2"]),
        (nn.ReLU, ["0.1"]),
        (nn.Sequential, ["0", "1", "(model)"]),
        (lambda name, module: name.startswith("1.") and isinstance(module, nn.Linear), ["1.0"]),
        ("all", ["0.0", "0.1", "1.0", "1.1", "2"]),
        ("*", ["0.0", "0.1", "0", "1.0", "1.1", "1", "2", "(model)"]),
        (["2", nn.Tanh], ["1.1", "2"]),
        ((name for name in ("2", "0.0")), ["0.0", "2"]),
        ({nn.Tanh}, ["1.1"]),
        (None, ["0.0", "1.0", "2"]),
        (Sites("2"), ["2"]),
    ],
)
def test_sites_are_chosen_by_glob_type_callable_or_several(select: Any, expected: list[str], tmp_path: Path) -> None:
    run = record(NETWORK, tmp_path / "run", torch.randn(5, 6), sites=select)
    assert names(run) == expected


@pytest.mark.parametrize("select", ["encoder.*", nn.Conv2d, [], lambda *_: False])
def test_a_selection_that_matches_nothing_names_the_modules_there_are(select: Any, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"Sequential.*\(model\), 0, 0\.0, 0\.1, 1"):
        Recorder(NETWORK, tmp_path / "run", sites=select)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("select", [5, [5], [None]])
def test_a_selection_by_something_else_is_refused(select: Any, tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="glob"):
        Recorder(NETWORK, tmp_path / "run", sites=select)


def test_a_model_without_weights_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="carries weights"):
        Recorder(nn.Sequential(nn.ReLU()), tmp_path / "run")


def test_of_a_wide_site_a_fixed_subset_of_units_is_kept_with_their_own_numbers(tmp_path: Path) -> None:
    for name in ("conv2d", "decoder"):
        run, oracle = trained(specimens(name)[0], tmp_path / name, samples="all", sites=Sites(max_units=3))
        again, _ = trained(specimens(name)[0], tmp_path / f"{name}2", samples="all", sites=Sites(max_units=3))
        steps = run.steps("train")
        assert [site.kept for site in run.sites] == [site.kept for site in again.sites]
        assert {site.kept for site in run.sites} - {None, (0, 1, 2)}, "not simply the first ones"
        for site in run.sites:
            if site.units > 3:
                assert len(set(site.kept)) == 3
                assert max(site.kept) < site.units
            else:
                assert site.kept is None
            for number, seen in enumerate(oracle.steps):
                rows = steps[(steps.site == site.name) & (steps.step == number)]
                assert rows.unit.tolist() == list(site.kept or range(site.units))
                assert_step(rows, by_unit(seen[site.name], site))


def test_the_cap_also_holds_for_sampled_values(tmp_path: Path) -> None:
    run, oracle = trained(specimens("conv2d")[0], tmp_path / "run", samples=4, sites=Sites(max_units=3))
    for site in run.sites:
        distribution = run.distribution("train", site.name, 1)
        assert_moments(distribution, by_unit([step[site.name][0] for step in oracle.steps], site))
        assert distribution.values.shape[0] == min(site.units, 3)
        assert (distribution.values.min(1) >= distribution.min - 1e-6).all()
        assert (distribution.values.max(1) <= distribution.max + 1e-6).all()


def test_a_module_called_again_in_one_forward_is_another_site(tmp_path: Path) -> None:
    run, _ = trained(specimens("relu_twice")[0], tmp_path / "run", sites="all")
    assert names(run) == ["first", "relu", "second", "relu#2"]
    assert [site.units for site in run.sites] == [8, 8, 4, 4]
    assert ledger(run)["relu"] == ("observed", "")


def test_a_module_under_two_names_is_listed_once_and_its_calls_are_told_apart(tmp_path: Path) -> None:
    run, _ = trained(specimens("shared_linear")[0], tmp_path / "run")
    assert names(run) == ["encode", "encode#2"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dict_output", ["(model).logits", "(model)['a key']"]),
        ("list_output", ["(model)[0]", "(model)[1]"]),
        ("dataclass_output", ["(model).logits", "(model).hidden[0]"]),
        ("namedtuple_output", ["(model).logits"]),
        ("lstm", ["(model)"]),
        ("packed_sequence", ["(model)"]),
    ],
)
def test_tensors_in_a_structured_output_are_sites_with_a_suffix(name: str, expected: list[str], tmp_path: Path) -> None:
    run, _ = trained(specimens(name)[0], tmp_path / "run", sites="*")
    assert [site for site in names(run) if site.startswith("(model)")] == expected
    assert ledger(run)["(model)"][0] == "observed"


class Varying(nn.Module):
    """Gives its features and, beside them, something as wide as the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.linear(x)
        return y @ y.T, y


def test_a_tensor_that_cannot_be_recorded_does_not_end_the_others_of_its_module(tmp_path: Path) -> None:
    model = Varying()
    with Recorder(model, tmp_path / "run", sites="*") as recorder:
        model(torch.randn(5, 6))
        recorder.step()
        with pytest.warns(RuntimeWarning, match=r"\(model\)\[0\]"):
            model(torch.randn(6, 6))
        model(torch.randn(7, 6))  # A second warning would be an error here.
    run = StoredRun(tmp_path / "run")
    assert ledger(run)["(model)"][0] == "failed"
    assert run.distribution("train", "(model)[1]", 1).count.tolist() == [18] * 3


def test_the_ledger_says_of_every_module_what_became_of_it(tmp_path: Path) -> None:
    unused, _ = trained(specimens("unused_branch")[0], tmp_path / "unused")
    assert {name: state for name, (state, _) in ledger(unused).items()} == {
        "used": "observed",
        "never": "never called",
        "bypassed": "bypassed",
    }
    attention, _ = trained(specimens("attention")[0], tmp_path / "attention")
    assert "own output is the site" in ledger(attention)["attention.out_proj"][1]
    dropout, _ = trained(specimens("dropout")[0], tmp_path / "dropout")
    assert ledger(dropout)["1"] == ("excluded", "not among the chosen sites")


def test_torchscript_parts_are_left_out_and_a_torchscript_model_is_refused(tmp_path: Path) -> None:
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        scripted = torch.jit.script(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))
    run = record(nn.Sequential(nn.Linear(6, 4), scripted), tmp_path / "run", torch.randn(5, 6), sites="*")
    assert names(run) == ["0", "(model)"]
    assert ledger(run)["1"] == ("excluded", "TorchScript takes no hooks; record the model it was made from")
    with pytest.raises(RecordingError, match="TorchScript"):
        Recorder(scripted, tmp_path / "scripted")


def test_a_run_in_which_nothing_was_recorded_is_an_error_that_says_why(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    strictly = Recorder(model, tmp_path / "run", strict=True)
    with pytest.raises(RecordingError, match="watched, but no forward"), strictly:
        model[1](torch.randn(3, 4))
    assert not model[0]._forward_hooks


def test_nothing_recorded_does_not_hide_the_users_own_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Recorder(nn.Linear(6, 4), tmp_path / "run"):
        raise ZeroDivisionError


def links(run: StoredRun) -> dict[str, tuple[tuple[str, ...], str | None]]:
    return {site.name: (site.feeds, site.follows) for site in run.sites}


def test_sites_know_the_activation_they_feed_and_norms_the_site_they_follow(tmp_path: Path) -> None:
    sigmoid, _ = trained(specimens("sigmoid_mlp")[0], tmp_path / "sigmoid")
    assert links(sigmoid) == {"0": (("Sigmoid",), None), "2": (("Sigmoid",), None)}
    normalised, _ = trained(specimens("bn_mlp")[0], tmp_path / "bn")
    assert links(normalised) == {"0": ((), None), "1": (("ReLU",), "0"), "3": ((), None)}
    assert normalised.site("1").batch_statistics
    twice, _ = trained(specimens("relu_twice")[0], tmp_path / "twice")
    assert links(twice) == {"first": (("ReLU",), None), "second": (("ReLU",), None)}
    in_place, _ = trained(specimens("inplace_relu")[0], tmp_path / "in_place")
    assert links(in_place)["0"] == (("ReLU",), None)


def test_what_reads_another_tensor_is_not_linked(tmp_path: Path) -> None:
    residual, _ = trained(specimens("residual")[0], tmp_path / "run")
    assert links(residual)["blocks.1.0"] == ((), None), "it reads a sum, which is no site's output"
    assert links(residual)["blocks.0.0"] == ((), "stem")
    dropped, _ = trained(specimens("dropout")[0], tmp_path / "dropout")
    assert links(dropped)["0"] == (("ReLU",), None), "dropout decides of no unit whether it is dead"


def test_numbers_of_the_model_are_in_the_manifest(tmp_path: Path) -> None:
    run, _ = trained(specimens("bn_mlp")[0], tmp_path / "run", sites=Sites(max_units=7), window=2)
    manifest = run.manifest
    assert manifest["model"] == "Sequential"
    assert manifest["parameters"] == 6 * 8 + 8 + 16 + 8 * 3 + 3
    assert manifest["steps"] == 4
    assert manifest["settings"]["max_units"] == 7
    assert manifest["settings"]["window_steps"] == 2
    assert 0 < manifest["overhead"]["recording_seconds"] <= manifest["overhead"]["wall_seconds"]
    assert np.isfinite(manifest["overhead"]["wall_seconds"])


def test_a_module_means_itself_alone_or_in_a_list() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 2))
    for given, expected in (
        (model[1], ["1"]),
        ([model[1]], ["1"]),
        ([model[1][1], nn.Linear], ["0", "1.0", "1.1", "2"]),
        (nn.DataParallel(model[1]), ["1"]),
        (model, ["(model)"]),
    ):
        assert list(choose_sites(model, as_sites(given))) == expected
    with pytest.raises(RecordingError, match="no module of Sequential matches this Linear; its modules"):
        choose_sites(model, as_sites([nn.Linear(4, 3)]))
