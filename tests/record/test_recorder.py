"""What is recorded is what a plain forward hook saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from icshift.record.recorder import Recorder
from icshift.runs.reader import StoredRun
from tests.oracles.hooks import Witness, assert_moments, assert_step, by_unit, trained
from tests.zoo.models import Specimen, normal, specimens

FAITHFUL = specimens(
    "mlp",
    "sigmoid_mlp",
    "bn_mlp",
    "conv1d",
    "conv2d",
    "conv3d",
    "channels_last",
    "residual",
    "relu_twice",
    "shared_linear",
    "inplace_relu",
    "lstm",
    "gru",
    "packed_sequence",
    "embedding_mean",
    "attention",
    "attention_over_sequences_of_changing_length",
    "encoder_layer",
    "decoder",
    "kwargs_only",
    "weight_norm",
    "lazy_linear",
    "bfloat16",
    "float64",
    "autocast",
    "complex_intermediate",
    "dropout",
    "frozen",
    "single_linear",
    "buffers_and_attributes_changed_by_forward",
    "unbatched_cells",
    "float16",
    "gpt2",
    "transformer_encoder",
    "transformer",
    "rnn",
    "embedding_bag",
    "unbatched",
    "five_axes",
    "a_single_number",
    "parts_that_give_no_activations",
    "conjugates",
    "weight_tying",
    "weights_of_its_own_beside_a_part",
    "lora_by_hand",
    "lora_as_parametrization",
    "lora_of_peft",
    "quantisation_aware",
    "averaged_model",
    "checkpoint_of_a_shared_block",
    "one_layer_twice_in_a_list",
    "plain_list_of_layers",
    "recursive",
    "hooks_of_its_own",
    "parts_called_by_the_loop",
    "parts_in_a_dictionary",
    "functional",
    "gradient_penalty",
)
"""Every module of these gives one tensor, which the oracle understands."""


@pytest.mark.some(24)
@pytest.mark.parametrize("specimen", FAITHFUL, ids=lambda specimen: specimen.name)
def test_every_step_is_what_a_plain_hook_saw(specimen: Specimen, tmp_path: Path) -> None:
    run, oracle = trained(specimen, tmp_path / "run", samples="all")
    steps = run.steps("train")
    assert sorted(steps.step.unique()) == list(range(4))
    assert run.sites
    for site in run.sites:
        of_site = steps[steps.site == site.name]
        for number, seen in enumerate(oracle.steps):
            rows = of_site[of_site.step == number]
            assert rows.unit.tolist() == (list(range(site.units)) if site.name in seen else [])
            if site.name in seen:
                assert_step(rows, by_unit(seen[site.name], site))


@pytest.mark.some(8)
@pytest.mark.parametrize(
    "specimen",
    [pytest.param(one, marks=[pytest.mark.thorough] if n % 3 else []) for n, one in enumerate(FAITHFUL)],
    ids=lambda specimen: specimen.name,
)
def test_moments_read_every_activation_however_few_are_sampled(specimen: Specimen, tmp_path: Path) -> None:
    run, oracle = trained(specimen, tmp_path / "run", samples=2)
    steps = run.steps("train")
    for site in run.sites:
        seen = [tensor for step in oracle.steps for tensor in step.get(site.name, [])]
        assert_moments(run.distribution("train", site.name, 1), by_unit(seen, site))
        last = steps[(steps.site == site.name) & (steps.step == 3)]
        if site.name in oracle.steps[3]:
            assert_moments(last, by_unit(oracle.steps[3][site.name], site))


def test_a_small_window_keeps_every_value(tmp_path: Path) -> None:
    run, oracle = trained(specimens("bn_mlp")[0], tmp_path / "run", samples="all")
    for site in run.sites:
        distribution = run.distribution("train", site.name, 1)
        values = by_unit([step[site.name][0] for step in oracle.steps], site)
        assert distribution.exact
        np.testing.assert_array_equal(distribution.values, np.sort(values.T).astype(np.float32))
        of_steps = [by_unit([step[site.name][0]], site) for step in oracle.steps]
        blocks = distribution.blocks
        assert blocks is not None
        assert blocks.sampled.T.tolist() == [[len(step)] * site.units for step in of_steps]
        np.testing.assert_allclose(blocks.slices.mean(2).T, [step.mean(0) for step in of_steps], rtol=1e-4, atol=1e-5)


def test_a_large_window_is_within_its_stated_error(tmp_path: Path) -> None:
    run, oracle = trained(specimens("conv2d")[0], tmp_path / "run", steps=12, samples="all")
    for site in run.sites:
        distribution = run.distribution("train", site.name, 1)
        values = np.sort(by_unit([step[site.name][0] for step in oracle.steps], site), axis=0).T
        assert distribution.sampled.tolist() == [values.shape[1]] * site.units
        # Wasserstein-1 between the kept slices and all values, by the quantile functions on a common grid.
        repeated = np.repeat(distribution.values.astype(float), values.shape[1], axis=1)
        true = np.abs(repeated - np.repeat(values, distribution.values.shape[1], axis=1)).mean(1)
        spread = values.max(1) - values.min(1)
        assert (true <= distribution.w1_error + 1e-6 * spread).all(), site.name
        assert (distribution.w1_error < 0.02 * spread).all(), site.name


def test_quantiles_are_made_of_at_most_the_asked_samples_a_step(tmp_path: Path) -> None:
    run, oracle = trained(specimens("conv2d")[0], tmp_path / "run", samples=10)
    distribution = run.distribution("train", "0", 1)
    assert distribution.sampled.tolist() == [40] * 4
    seen = by_unit([step["0"][0] for step in oracle.steps], run.site("0"))
    for unit in range(4):
        assert np.isin(distribution.values[unit], seen[:, unit].astype(np.float32)).all()


def test_sampling_is_the_same_in_every_run_and_shared_by_all_units(tmp_path: Path) -> None:
    runs = [trained(specimens("conv2d")[0], tmp_path / name, samples=10)[0] for name in ("a", "b")]
    for site in runs[0].sites:
        first, second = (run.distribution("train", site.name, 1) for run in runs)
        np.testing.assert_array_equal(first.values, second.values)


def test_nan_and_inf_are_counted_apart_and_are_in_nothing_else(tmp_path: Path) -> None:
    class Broken(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            y[0, 0], y[1, 0], y[2, 0] = float("nan"), float("inf"), float("-inf")
            y[:, 1] = float("nan")
            return y

    model = Broken(6, 4)
    oracle = Witness({"(model)": model}, calls=None)
    for samples in ("all", 5):
        with Recorder(model, tmp_path / str(samples), samples=samples) as recorder:
            for _ in range(3):
                model(torch.randn(20, 6))
                recorder.step()
                oracle.end()
        seen = np.concatenate([step["(model)"][0].numpy() for step in oracle.steps[-3:]]).astype(float)
        finite = [column[np.isfinite(column)] for column in seen.T]
        run = StoredRun(tmp_path / str(samples))
        distribution = run.distribution("train", "(model)", 1)
        assert distribution.count.tolist() == [51, 0, 60, 60]
        assert distribution.nonfinite.tolist() == [9, 60, 0, 0]
        for name in ("mean", "std", "min", "max"):
            found, expected = getattr(distribution, name), [getattr(np, name)(c) if len(c) else np.nan for c in finite]
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.isfinite(distribution.values[[2, 3]]).all()
        assert np.isnan(distribution.values[1]).all()
        steps = run.steps("train")
        assert steps[steps.unit == 0].nonfinite.tolist() == [3, 3, 3]
        assert steps[steps.unit == 1]["mean"].isna().all()
        assert steps[steps.unit > 1].notna().all(axis=None)


def test_far_off_centre_and_huge_activations_keep_their_spread(tmp_path: Path) -> None:
    class Shifted(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x * torch.tensor([1e-3, 1e30, 1e-30, 1.0], dtype=x.dtype) + torch.tensor(
                [1e3, 0, 0, 1e6], dtype=x.dtype
            )

    model = Shifted(4, 4).double()
    oracle = Witness({"(model)": model}, calls=None)
    with Recorder(model, tmp_path / "run", samples=16) as recorder:
        for _ in range(3):
            model(torch.randn(200, 4, dtype=torch.float64))
            recorder.step()
            oracle.end()
    seen = np.concatenate([step["(model)"][0].numpy() for step in oracle.steps])
    distribution = StoredRun(tmp_path / "run").distribution("train", "(model)", 1)
    np.testing.assert_allclose(distribution.mean, seen.mean(0), rtol=1e-5)
    np.testing.assert_allclose(distribution.std, seen.std(0), rtol=1e-5)


@pytest.mark.parametrize("variant", ["reentrant", "nonreentrant"])
def test_a_checkpointed_part_is_counted_once(variant: str, tmp_path: Path) -> None:
    """PyTorch runs it twice, or from some layer on once; the recording is that of a model without checkpoints."""
    run, oracle = trained(specimens(f"checkpoint_{variant}")[0], tmp_path / "run", samples="all", sites="all")
    hooked = [len(step["block.0"]) for step in oracle.steps]
    assert hooked == [1] * 4, "a call suffix tells the recomputed forward apart"
    assert all("block.0#2" in step for step in oracle.steps), "nothing was computed twice, so nothing was tested"
    assert [site.name for site in run.sites] == ["stem", *(f"block.{i}" for i in range(5)), "head"]
    steps = run.steps("train")
    assert (steps["count"] == 12).all()
    for site in run.sites:
        for number, seen in enumerate(oracle.steps):
            rows = steps[(steps.site == site.name) & (steps.step == number)]
            assert_step(rows, by_unit(seen[site.name], site))


def test_the_step_of_an_empty_batch_counts_and_nothing_of_it_is_recorded(tmp_path: Path) -> None:
    run, oracle = trained(specimens("empty_batch")[0], tmp_path / "run", samples="all")
    assert [len(step["0"][0]) for step in oracle.steps] == [12, 0, 12, 12]
    assert run.manifest["steps"] == 4
    counts = run.steps("train").groupby("step")["count"].unique().explode()
    assert counts.to_dict() == {0: 12, 2: 12, 3: 12}


def test_an_in_place_operation_after_a_site_does_not_change_what_was_recorded(tmp_path: Path) -> None:
    run, _ = trained(specimens("inplace_relu")[0], tmp_path / "run")
    assert (run.distribution("train", "0", 1).min < 0).all()


def test_forwards_of_a_part_alone_are_recorded(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    with Recorder(model, tmp_path / "run") as recorder:
        for _ in range(2):
            model[0](normal(5, 6)(np.random.default_rng(0))[0][0])
            recorder.step()
    run = StoredRun(tmp_path / "run")
    assert [site.name for site in run.sites] == ["0"]
    assert run.steps("train")["count"].tolist() == [5] * 8
