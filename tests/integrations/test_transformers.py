"""Recording from a Transformers trainer; models are built from configurations, with random weights."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

import icshift
from icshift.integrations.transformers import RecorderCallback
from tests.integrations.trainers import (
    drift,
    hooks_on,
    names_icshift,
    numbers,
    recorded_drift,
    same_parameters,
    steps_of_windows,
    watched,
)
from tests.warm.starting import python

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning", "ignore:.*:FutureWarning")


@pytest.fixture(autouse=True)
def in_its_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def language_model():
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=16, n_positions=8, bos_token_id=0))


def sentences(examples, seed):
    tokens = torch.randint(16, (examples, 8), generator=torch.Generator().manual_seed(seed))
    return [{"input_ids": row, "labels": row} for row in tokens]


PROBE = {"input_ids": torch.stack([row["input_ids"] for row in sentences(8, seed=3)])}


def trainer(*callbacks, kind=Trainer, model=None, **options):
    """36 examples in batches of 8, so an epoch has 5 batches; 8 examples to evaluate."""
    quiet = {
        "report_to": "none",
        "disable_tqdm": True,
        "logging_strategy": "no",
        "save_strategy": "no",
        "eval_strategy": "epoch",
        "use_cpu": True,
        "num_train_epochs": 3,
        "per_device_train_batch_size": 8,
        "learning_rate": 0.01,
    }
    train = kind(
        model or language_model(),
        TrainingArguments("out", **{**quiet, **options}),
        train_dataset=sentences(36, seed=1),
        eval_dataset=sentences(8, seed=2),
        callbacks=list(callbacks),
    )
    train.remove_callback(PrinterCallback)
    return train


class AtEpochs(TrainerCallback):
    """Calls something when an epoch begins, but for the first."""

    def __init__(self, act):
        self.act = act

    def on_epoch_begin(self, args, state, control, **_):  # noqa: ARG002
        if state.global_step:
            self.act()


class Failing(Trainer):
    """Raises `error` in its eighth training step, once."""

    error: BaseException = ValueError("as planned")
    calls = 0

    def training_step(self, *args, **kwargs):
        self.calls += 1
        if self.calls == 8:
            raise self.error
        return super().training_step(*args, **kwargs)


def eval_counts(path):
    windows = icshift.open(path).windows()
    return list(windows[windows.phase == "eval"].groupby("window")["count"].max())


def test_an_epoch_is_a_window_as_a_recorder_by_hand_would_have_it():
    trainer(RecorderCallback("a", probe=PROBE)).train()
    model = language_model()
    with icshift.Recorder(model, "b", probe=PROBE) as recorder:
        trainer(AtEpochs(recorder.epoch), model=model).train()
    for ours, by_hand in zip(numbers("a"), numbers("b"), strict=True):
        pd.testing.assert_frame_equal(ours, by_hand)
    run = icshift.open("a")
    assert run.finished
    assert run.phases == ["train", "eval", "probe"]
    assert steps_of_windows("a") == [(0, 4), (5, 9), (10, 14)]
    assert eval_counts("a") == [64, 64, 64]


def test_drift_is_that_of_plain_hooks():
    model = language_model()
    witness = watched(model.transformer.h[0].mlp.c_fc)
    trainer(RecorderCallback("a", samples="all"), AtEpochs(witness.end), model=model).train()
    np.testing.assert_allclose(recorded_drift("a", "transformer.h.0.mlp.c_fc"), drift(witness), rtol=1e-5)


@pytest.mark.some(1)
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 2, "bf16": True}], ids=str)
def test_training_is_bit_identical(options):
    models, states = [], []
    for callbacks in ([], [RecorderCallback("a", sites="transformer*", probe=PROBE, window=2)]):
        models.append(language_model())
        trainer(*callbacks, model=models[-1], **options).train()
        states.append(torch.get_rng_state())
    assert same_parameters(*models)
    assert torch.equal(*states)
    assert hooks_on(models[1]) == 0


@pytest.mark.some(1)
@pytest.mark.parametrize("accumulated", [1, 2, 3])
def test_steps_are_those_of_the_trainer(accumulated):
    train = trainer(RecorderCallback("a"), gradient_accumulation_steps=accumulated)
    train.train()
    steps = icshift.open("a").steps()
    assert steps[steps.phase == "train"]["step"].nunique() == train.state.global_step
    assert icshift.open("a").manifest["steps"] == train.state.global_step == 3 * -(-5 // accumulated)


def test_with_windows_of_steps_epochs_end_none():
    trainer(RecorderCallback("a", window=6)).train()
    assert steps_of_windows("a") == [(0, 5), (6, 11), (12, 14)]


def test_evaluation_within_an_epoch_is_in_its_window():
    trainer(RecorderCallback("a"), eval_strategy="steps", eval_steps=3).train()
    assert eval_counts("a") == [64, 128, 128]


def test_evaluation_outside_training_is_not_recorded():
    train = trainer(RecorderCallback("a"), eval_on_start=True)
    train.evaluate()
    assert not Path("a").exists()
    train.train()
    train.evaluate()
    assert eval_counts("a") == [64, 64, 64]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_close_keeps_what_was_recorded_before_an_exception(error):
    recording = RecorderCallback("a", probe=PROBE)
    train = trainer(recording, kind=Failing)
    train.error = error()
    with pytest.raises(error):
        train.train()
    recording.close()
    recording.close()
    assert icshift.open("a").finished
    assert steps_of_windows("a") == [(0, 4), (5, 6)]
    assert hooks_on(train.model) == 0


def test_dropping_the_callback_closes():
    train = trainer(RecorderCallback("a"), kind=Failing)
    with pytest.raises(ValueError, match="as planned"):
        train.train()
    train.remove_callback(RecorderCallback)
    assert icshift.open("a").finished
    assert hooks_on(train.model) == 0


def test_the_end_of_the_process_closes():
    code = """
from tests.integrations.test_transformers import *
trainer(RecorderCallback("a", probe=PROBE), kind=Failing).train()
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    ended = subprocess.run(
        [python(), "-c", code],
        env=environment,
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert ended.stderr.decode().splitlines()[-1] == "ValueError: as planned"
    assert icshift.open("a").finished
    assert steps_of_windows("a") == [(0, 4), (5, 6)]


def test_training_begun_again_after_an_exception_goes_on_in_a_new_window():
    train = trainer(RecorderCallback("a"), kind=Failing)
    with pytest.raises(ValueError, match="as planned"):
        train.train()
    train.train()
    assert icshift.open("a").finished
    assert steps_of_windows("a") == [(0, 4), (5, 6), (7, 11), (12, 16), (17, 21)]


def test_a_smaller_batch_found_to_fit_goes_on_in_a_new_window():
    train = trainer(RecorderCallback("a"), kind=Failing, auto_find_batch_size=True)
    train.error = RuntimeError("CUDA out of memory.")
    train.train()
    windows = steps_of_windows("a")
    assert windows[:2] == [(0, 4), (5, 6)]
    assert len(windows) == 5
    assert windows[-1][1] + 1 - 7 == train.state.global_step


def test_training_again_overwrites_nothing():
    train = trainer(RecorderCallback("a"))
    train.train()
    before = numbers("a")
    with pytest.raises(icshift.RunError, match="force"):
        train.train()
    for now, then in zip(numbers("a"), before, strict=True):
        pd.testing.assert_frame_equal(now, then)
    assert hooks_on(train.model) == 0


def test_a_recording_of_nothing_warns_and_ends_no_training():
    model = language_model()
    model.unused = torch.nn.Linear(2, 2)
    train = trainer(RecorderCallback("a", sites="unused"), model=model)
    with pytest.warns(RuntimeWarning, match="nothing was recorded"):
        train.train()
    assert train.state.global_step == 15


def test_the_last_probe_sees_the_last_parameters_not_the_best():
    for path, best in (("a", False), ("b", True)):
        worst_is_best = {"metric_for_best_model": "loss", "greater_is_better": True} if best else {}
        train = trainer(
            RecorderCallback(path, probe=PROBE),
            load_best_model_at_end=best,
            save_strategy="epoch",
            learning_rate=0.1,
            **worst_is_best,
        )
        train.train()
    assert train.state.best_model_checkpoint != str(Path("out/checkpoint-15"))
    for plain, loaded in zip(numbers("a"), numbers("b"), strict=True):
        pd.testing.assert_frame_equal(plain, loaded)


def test_checkpoints_know_nothing_of_the_recording():
    for path, callbacks in (("with", [RecorderCallback("a")]), ("without", [])):
        train = trainer(*callbacks, save_strategy="steps", save_steps=7)
        train.train()
        Path("out").rename(path)
    assert names_icshift(Path("with")) == []
    kept, plain = Path("with/checkpoint-7"), Path("without/checkpoint-7")
    assert {file.name for file in kept.iterdir()} == {file.name for file in plain.iterdir()}
    for file in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        assert (kept / file).read_bytes() == (plain / file).read_bytes()
    assert set(load_file(kept / "model.safetensors")) <= set(train.model.state_dict())


def test_adapters_of_peft():
    model = get_peft_model(language_model(), LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    trainer(RecorderCallback("a", probe=PROBE), model=model).train()
    drift = icshift.open("a").drift(phase="train")
    adapters = drift[drift.site.str.contains("lora_B")]
    assert adapters["value"].max() > 0
    assert steps_of_windows("a") == [(0, 4), (5, 9), (10, 14)]


def test_without_the_package_the_remedy_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    monkeypatch.delitem(sys.modules, "icshift.integrations.transformers")
    with pytest.raises(icshift.RecordingError, match=r"pip install 'icshift\[transformers\]'"):
        import_module("icshift.integrations.transformers")


def test_what_the_trainer_logs_is_kept():
    train = trainer(RecorderCallback("run"), logging_strategy="steps", logging_steps=2, num_train_epochs=2)
    train.train()
    logged = icshift.open("run").logged()
    shown = [(entry["step"], name) for entry in train.state.log_history for name in entry if name.endswith("loss")]
    found = logged[logged.name.str.endswith("loss")]
    assert [(step + 1, name) for step, name in zip(found.step, found.name, strict=True)] == shown
    told = [value for entry in train.state.log_history for name, value in entry.items() if name.endswith("loss")]
    assert found.value.tolist() == told
    assert {1, 2} == set(found.window)


def test_a_training_that_is_resumed_is_recorded_as_one_that_nobody_stopped():
    train = trainer(recording := RecorderCallback("a", probe=PROBE), kind=Failing, save_strategy="epoch")
    with pytest.raises(ValueError, match="as planned"):
        train.train()
    recording.close()
    assert steps_of_windows("a") == [(0, 4), (5, 6)]
    trainer(RecorderCallback("a", probe=PROBE, resume=True), save_strategy="epoch").train(resume_from_checkpoint=True)
    trainer(RecorderCallback("b", probe=PROBE, resume=True)).train()
    assert steps_of_windows("a") == steps_of_windows("b")
    for resumed, whole in zip(numbers("a"), numbers("b"), strict=True):
        pd.testing.assert_frame_equal(resumed, whole)
    assert [one["step"] for one in icshift.open("a").manifest["resumed"]] == [5]
