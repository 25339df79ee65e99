"""What is claimed of `icshift run` on trainings as people write them: tests of each style in `STYLES` of the file that
imports them. It changes nothing, and all that it keeps and says of them is true.

The truth is kept by plain hooks (`tests/oracles/trainings.py`), epochs are counted by the scripts themselves. A style
is run once for all tests of a file (`ran`); there are several files so that several processes share the work.
"""

import signal
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

import icshift
from tests.launch.summary import untrue
from tests.launch.truths import STYLES_BY_NAME, in_windows, run_style

UNTRUE: dict[tuple[str, str], str] = {}
"""Why something is not true yet that is claimed, by style and test."""

INTERRUPTED = 130

PROCESSES = ("spawned", "hogwild")
"""Styles whose models are trained by processes of their own, of which the oracle knows nothing."""

ELSEWHERE = (*PROCESSES, "keras_fit")
"""These, and one whose layers are no parts of modules."""


ALIKE = {
    "nanogpt": "mingpt",
    "makemore": "mingpt",
    "vae": "mnist",
    "quickstart": "mnist",
    "early_stopping": "mnist",
    "amp": "mnist",
    "dcgan": "wgan_gp",
    "cyclegan": "wgan_gp",
    "seq2seq": "wgan_gp",
    "two_optimizers": "wgan_gp",
    "reinforce": "ppo",
    "dqn": "ppo",
    "agent": "ppo",
    "sac": "ppo",
    "unet": "imagenet",
    "timm_train": "imagenet",
    "simclr": "imagenet",
    "ddpm": "byol",
    "swa": "byol",
    "gcn": "ppo",
    "physics": "mingpt",
    "reptile": "maml",
    "checkpointed_whole": "checkpointed",
    "distillation": "freezing",
    "annotated_transformer": "mingpt",
    "moe": "mingpt",
    "packed": "word_language_model",
    "kfold": "search",
    "curriculum": "notebook",
    "streaming": "notebook",
    "cycled": "mingpt",
}
"""Styles that are `thorough`, and for each the one most like it in loops, models and optimizers, which always runs."""


def parameters(test: str, names: tuple[str, ...]) -> list:
    """The styles of these names that a test is about, as parameters of it."""
    about = ABOUT.get(test, set(STYLES_BY_NAME) - set(ELSEWHERE))
    return [
        pytest.param(
            name,
            marks=[
                *([pytest.mark.skip(reason=f"{style.needs} is not installed")] if style.missing else []),
                *([pytest.mark.thorough] if name in ALIKE else []),
                *([pytest.mark.xfail(strict=True, reason=UNTRUE[name, test])] if (name, test) in UNTRUE else []),
            ],
        )
        for name in names
        if name in about and (style := STYLES_BY_NAME[name])
    ]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A function from a style's name to what came of it."""
    done = {}

    def ran(name):
        if name not in done:
            done[name] = run_style(STYLES_BY_NAME[name], tmp_path_factory.mktemp(name))
        return done[name]

    return ran


def test_output_and_parameters_are_what_they_are_without(style, ran):
    run = ran(style)
    # The last line is a hash of all parameters.
    assert run.recorded.stdout == run.plain.stdout, run.recorded.stderr
    assert run.hooked.stdout == run.plain.stdout, run.hooked.stderr
    assert run.plain.stdout
    if run.style.code == INTERRUPTED:
        assert run.recorded.returncode in (INTERRUPTED, -signal.SIGINT)
    else:
        assert run.recorded.returncode == run.plain.returncode == run.style.code


def test_windows_are_the_epochs_that_the_script_counts(style, ran):
    run = ran(style)
    assert set(run.names) == set(run.style.models), run.recorded.stderr
    assert {path.name for path in run.output.iterdir()} == set(run.names.values())
    for recorded, truth in run.pairs():
        spans = [(window.first_step, window.last_step) for window in recorded.window_list]
        assert recorded.finished
        assert all(window.closed for window in recorded.window_list)
        assert recorded.manifest["steps"] == truth.steps
        if run.style.epoch and run.style.epochs:
            assert spans == truth.windows()
        else:
            assert spans[0][0] == 0
            assert spans[-1][1] == truth.steps - 1
            assert all(before[1] + 1 == after[0] for before, after in pairwise(spans))
            assert max(1, min(10, truth.steps - truth.unheard)) <= len(spans) <= 20


def test_every_activation_is_counted_in_its_phase_and_window(style, ran):
    run = ran(style)
    assert run.names
    for recorded, truth in run.pairs():
        spans = [(window.first_step, window.last_step) for window in recorded.window_list]
        table = recorded.windows()
        assert set(zip(table["phase"], table["site"], strict=True)) == set(truth.activations)
        for (phase, site), rows in table.groupby(["phase", "site"]):
            kept = in_windows(truth.activations[phase, site], truth, spans, phase)
            assert rows["window"].unique().tolist() == sorted(kept), (phase, site)
            for window, units in rows.groupby("window"):
                where = str((phase, site, window))
                own = kept[window]
                assert units["count"].tolist() == [len(own)] * own.shape[1], where
                np.testing.assert_allclose(units["min"], own.min(0), rtol=1e-6, atol=1e-6, err_msg=where)
                np.testing.assert_allclose(units["max"], own.max(0), rtol=1e-6, atol=1e-6, err_msg=where)
                np.testing.assert_allclose(units["mean"], own.mean(0), rtol=1e-5, atol=1e-6, err_msg=where)


def test_drift_is_scipys_within_the_printed_bound(style, ran):
    run = ran(style)
    assert run.names
    for recorded, truth in run.pairs():
        spans = [(window.first_step, window.last_step) for window in recorded.window_list]
        compared = 0
        for phase in recorded.phases:
            table = recorded.drift(("w1",), reference="previous", phase=phase)
            for site in dict.fromkeys(table["site"]):
                kept = in_windows(truth.activations[phase, site], truth, spans, phase)
                # One comparison a site: what lies in the windows is another test's.
                rows = table[(table["site"] == site) & (table["window"] == table["window"].max())]
                window = rows["window"].iloc[0]
                reference = max(before for before in kept if before < window)
                for value, error, before, after in zip(
                    rows["value"], rows["error"], kept[reference].T, kept[window].T, strict=True
                ):
                    exact = wasserstein_distance(before, after)
                    assert abs(value - exact) <= error + 1e-6 * exact, (phase, site, window)
                    compared += 1
        # Of a training in which nothing can be heard there is one window.
        assert compared or truth.unheard == truth.steps


def test_what_other_processes_train_is_recorded(style, ran):
    run = ran(style)
    found = {str(path.parent.relative_to(run.output)) for path in run.output.rglob("run.json")}
    assert found == set(run.style.declared), run.recorded.stderr
    for place, declared in run.style.declared.items():
        recorded = icshift.open(run.output / place)
        assert recorded.finished
        assert [(window.first_step, window.last_step) for window in recorded.window_list] == [*declared.windows]
        assert recorded.phases == ["train"]
        assert len(recorded.sites) == declared.sites
        assert set(recorded.windows()["count"]) == {declared.rows}


def test_every_line_of_the_summary_is_true(style, ran):
    assert untrue(ran(style)) == []


ABOUT = {
    test_output_and_parameters_are_what_they_are_without.__name__: {*STYLES_BY_NAME},
    test_what_other_processes_train_is_recorded.__name__: {*PROCESSES},
    test_every_line_of_the_summary_is_true.__name__: {*STYLES_BY_NAME} - {"keras_fit"},
}
"""Which styles a test is about where these are not all but `ELSEWHERE`."""
