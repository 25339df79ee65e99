"""Trainings as they are: steps of all kinds, models that change, copies, threads, processes, and whatever ends them."""

import copy
import os
import signal
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn
from torch.utils.data import DataLoader, Dataset

import icshift
from icshift.record.recorder import Recorder
from icshift.runs.behind import pause_all
from icshift.runs.reader import StoredRun
from tests.covering import often
from tests.oracles.hooks import Witness, assert_moments, assert_recorded, counts, hooks_on, leaves, ledger, values

LAYERS = ["stem", "body.0", "body.2", "head"]


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(6, 8), nn.Linear(8, 3)
        self.body = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))

    def forward(self, x):
        return self.head(self.body(self.stem(x)))


@pytest.fixture
def model():
    torch.manual_seed(3)
    return Network()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def batch(rows=12):
    return torch.randn(rows, 6)


def learn(model, optimizer, steps=1, rows=12):
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch(rows)).square().mean().backward()
        optimizer.step()


def layers(model):
    return leaves(model, nn.Linear)


def joined(witnesses):
    """The steps of several, one after the other."""
    return {site: [step for witness in witnesses for step in witness.by_site[site]] for site in witnesses[0].by_site}


# What a step is.


def test_accumulated_gradients_are_one_step(model, tmp_path):
    optimizer, witness = sgd(model), Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all"):
        for rows in ((5, 6, 7), (8,), (9, 1)):
            optimizer.zero_grad()
            for count in rows:
                (model(batch(count)).square().mean() / len(rows)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            witness.end()
    assert_recorded(StoredRun(tmp_path / "run"), witness.by_site)


@pytest.mark.parametrize("given", [False, True])
def test_several_optimizers_after_one_forward_are_one_step(given, model, tmp_path):
    optimizers = [
        torch.optim.AdamW(model.stem.parameters()),
        sgd(model.body),
        torch.optim.Adagrad(model.head.parameters()),
    ]
    witness = Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all", optimizer=optimizers if given else None):
        for _ in range(4):
            for optimizer in optimizers:
                optimizer.zero_grad()
            model(batch()).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
            witness.end()
    assert_recorded(StoredRun(tmp_path / "run"), witness.by_site)


def test_an_optimizer_for_every_parameter_that_steps_within_the_backward_pass(model, tmp_path):
    witness = Witness(layers(model))
    for parameter in model.parameters():
        optimizer = torch.optim.SGD([parameter], lr=0.1)

        def step(_, optimizer=optimizer):
            optimizer.step()
            optimizer.zero_grad()

        parameter.register_post_accumulate_grad_hook(step)
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(4):
            model(batch()).square().mean().backward()
            witness.end()
    assert_recorded(StoredRun(tmp_path / "run"), witness.by_site)


def test_a_step_that_the_scaler_skips_is_none(model, tmp_path):
    """What was computed for it belongs to the step that is taken next."""
    optimizer, witness = sgd(model), Witness(layers(model))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with Recorder(model, tmp_path / "run", samples="all"):
        for number, rows in enumerate((12, 13, 14, 15, 16)):
            optimizer.zero_grad()
            loss = model(batch(rows)).square().mean()
            scaler.scale(loss * float("inf") if number in (1, 2) else loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if number not in (1, 2):
                witness.end()
    assert scaler.get_scale() == 256.0, "nothing was skipped, so nothing was tested"
    run = StoredRun(tmp_path / "run")
    assert counts(run)["stem"] == {0: 12, 1: 13 + 14 + 15, 2: 16}
    assert_recorded(run, witness.by_site)


def test_a_step_that_calls_the_model_itself(model, tmp_path):
    optimizer, witness = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4), Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(3):
            inputs = batch()

            def closure(inputs=inputs):
                optimizer.zero_grad()
                loss = model(inputs).square().mean()
                loss.backward()
                return loss

            optimizer.step(closure)
            witness.end()
    run = StoredRun(tmp_path / "run")
    assert min(counts(run)["stem"].values()) > 12, "each step called the model once, so nothing was tested"
    assert_recorded(run, witness.by_site)


def test_an_optimizer_that_takes_the_place_of_another(model, tmp_path):
    witness = Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all"):
        for make in (torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop):
            optimizer = make(model.parameters(), lr=0.01)
            for _ in range(2):
                learn(model, optimizer)
                witness.end()
            del optimizer
    assert_recorded(StoredRun(tmp_path / "run"), witness.by_site)


def test_training_and_evaluation_in_turn(model, tmp_path):
    """Also in the middle of a step, and with parts of the model in another mode than the whole."""
    model.body.append(nn.BatchNorm1d(8))
    optimizer, modules = sgd(model), leaves(model, (nn.Linear, nn.BatchNorm1d))
    training, evaluation = (
        Witness(modules, when=lambda: model.training),
        Witness(modules, when=lambda: not model.training),
    )
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(3):
            optimizer.zero_grad()
            for rows in (5, 6):
                model.train()
                model.body.eval()
                model(batch(rows)).square().mean().backward()
                model.eval()
                with torch.inference_mode():
                    model(batch(20))
                    model(batch(3))
            optimizer.step()
            training.end()
            evaluation.end()
    run = StoredRun(tmp_path / "run")
    assert run.phases == ["train", "eval"]
    assert_recorded(run, training.by_site)
    assert run.steps("eval").empty
    for site, steps in evaluation.by_site.items():
        every = values([tensor for tensors in steps for tensor in tensors])
        assert len(every) == 6 * 23
        assert_moments(run.distribution("eval", site, 1), every)


# Models that change.


def test_a_layer_that_is_added_is_recorded_from_then_on(model, tmp_path):
    optimizer, witness = sgd(model), Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all"):
        for step in range(5):
            if step == 2:
                model.head = nn.Sequential(model.head, nn.Linear(3, 4))
                optimizer.add_param_group({"params": model.head[1].parameters()})
                added = Witness({"head.1": model.head[1]})
            learn(model, optimizer)
            witness.end()
            if step >= 2:
                added.end()
    run = StoredRun(tmp_path / "run")
    found = counts(run)
    assert found == {
        **{layer: dict.fromkeys(range(5), 12) for layer in LAYERS[:3]},
        "head": {0: 12, 1: 12},
        "head.0": {2: 12, 3: 12, 4: 12},
        "head.1": {2: 12, 3: 12, 4: 12},
    }
    assert_moments(
        run.distribution("train", "head.1", 1), values([t for step in added.by_site["head.1"] for t in step])
    )
    former = witness.by_site["head"]
    assert_moments(run.distribution("train", "head", 1), values([t for step in former[:2] for t in step]))
    assert_moments(run.distribution("train", "head.0", 1), values([t for step in former[2:] for t in step]))


def test_layers_that_move_on_take_the_names_of_their_places(tmp_path):
    class Growing(nn.Module):
        def __init__(self):
            super().__init__()
            self.old, self.new = nn.Linear(6, 6), nn.Linear(6, 6)

        def forward(self, x):
            return self.new(self.old(x))

        def grow(self):
            self.old, self.new = self.new, nn.Linear(6, 6)

    torch.manual_seed(3)
    model, witnesses = Growing(), []
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(3):
            witnesses.append(Witness(layers(model)))
            for _ in range(2):
                learn(model, sgd(model))
                witnesses[-1].end()
            witnesses[-1].remove()
            model.grow()
    assert_recorded(StoredRun(tmp_path / "run"), joined(witnesses))


def test_a_layer_in_the_place_of_another_of_its_width_goes_on(model, tmp_path):
    witnesses = []
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(3):
            witnesses.append(Witness(layers(model)))
            for _ in range(2):
                learn(model, sgd(model))
                witnesses[-1].end()
            witnesses[-1].remove()
            model.head = nn.Linear(8, 3)
            model.body = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), model.body[2])
    assert_recorded(StoredRun(tmp_path / "run"), joined(witnesses))


def test_a_layer_of_another_width_is_in_the_ledger_and_the_others_go_on(model, tmp_path):
    with Recorder(model, tmp_path / "run", samples="all"):
        learn(model, sgd(model), 2)
        model.head = nn.Linear(8, 5)
        with pytest.warns(RuntimeWarning, match="head"):
            learn(model, sgd(model), 2)
        learn(model, sgd(model))
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {
        **{layer: dict.fromkeys(range(5), 12) for layer in LAYERS[:3]},
        "head": {0: 12, 1: 12},
    }
    assert {module: state for module, (state, _) in ledger(run).items() if state != "excluded"} == {
        **dict.fromkeys(LAYERS[:3], "observed"),
        "head": "failed",
    }
    reason = ledger(run)["head"][1]
    assert "3" in reason
    assert "5" in reason


def test_copies_that_follow_the_model_are_not_recorded(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer, witness = sgd(model), Witness(leaves(model, (nn.Linear, nn.BatchNorm1d)))
    with Recorder(model, tmp_path / "run", samples="all"):
        average = copy.deepcopy(model)
        swa = AveragedModel(model)
        ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
        for _ in range(4):
            learn(model, optimizer)
            witness.end()
            swa.update_parameters(model)
            ema.update_parameters(model)
            with torch.no_grad():
                for ours, theirs in zip(average.parameters(), model.parameters(), strict=True):
                    ours.lerp_(theirs, 0.1)
            for one in (average, swa, ema):
                one.train()(batch(50))
                one.eval()(batch(50))
            learn(average.train(), sgd(average), rows=50)
            copy.deepcopy(average)(batch(50))
        update_bn([batch(50), batch(50)], swa)
        model.load_state_dict(average.state_dict())
        learn(model, optimizer)
        witness.end()
    run = StoredRun(tmp_path / "run")
    assert run.phases == ["train"]
    # The copies kept the plain hooks of the witness, which therefore saw too much.
    for steps in witness.by_site.values():
        for tensors in steps:
            tensors[:] = [tensor for tensor in tensors if len(tensor) == 12]
    assert_recorded(run, witness.by_site)


# Threads.


def run_together(*works):
    """Each in a thread of its own; raises what any of them raised."""
    errors = []

    def guarded(work):
        try:
            work()
        except BaseException as error:  # noqa: BLE001  It is raised below.
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for error in errors:
        raise error


@pytest.mark.thorough
def test_two_models_that_are_trained_and_recorded_in_two_threads(tmp_path):
    models = [Network() for _ in range(2)]
    witnesses = [Witness(layers(model)) for model in models]
    meet = threading.Barrier(2)

    def train(number):
        with Recorder(models[number], tmp_path / str(number), samples="all"):
            optimizer = sgd(models[number])
            meet.wait()
            for _ in range(20):
                learn(models[number], optimizer, rows=10 + number)
                witnesses[number].end()

    run_together(lambda: train(0), lambda: train(1))
    for number in range(2):
        assert_recorded(StoredRun(tmp_path / str(number)), witnesses[number].by_site)


def test_forwards_of_one_model_in_two_threads(model, tmp_path):
    """Gradients of both are for one step; no thread's forward is taken for the second call in the other's."""
    optimizer, steps, each = sgd(model), 6, 10
    meet = threading.Barrier(2)

    def forwards(rows):
        for step in range(steps):
            for _ in range(each):
                model(batch(rows)).square().mean().backward()
            if meet.wait() == 0:
                optimizer.step()
                optimizer.zero_grad()
            meet.wait()
            assert step < steps

    with Recorder(model, tmp_path / "run", samples="all"):
        run_together(lambda: forwards(5), lambda: forwards(7))
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {layer: dict.fromkeys(range(steps), each * 12) for layer in LAYERS}
    assert run.distribution("train", "head", 1).sampled.tolist() == [steps * each * 12] * 3


def test_evaluation_in_one_thread_beside_forwards_of_another_model(model, tmp_path):
    other = Network().eval()
    with Recorder(model, tmp_path / "a"), Recorder(other, tmp_path / "b"):
        run_together(
            lambda: learn(model, sgd(model), 20),
            lambda: [other(batch(7)) for _ in range(20)],
        )
    assert counts(StoredRun(tmp_path / "a"))["stem"] == dict.fromkeys(range(20), 12)
    assert StoredRun(tmp_path / "b").distribution("eval", "stem", 1).count.tolist() == [140] * 8
    assert StoredRun(tmp_path / "b").manifest["steps"] == 0


def replicated(model):
    """A replica, made as DataParallel makes those of its devices, with all on one."""
    originals = list(model.modules())
    replicas = {module: module._replicate_for_data_parallel() for module in originals}
    for module, replica in replicas.items():
        for name, part in module._modules.items():
            setattr(replica, name, replicas[part])
        for name, parameter in module._parameters.items():
            # A replica's are no parameters but what they were broadcast to.
            setattr(replica, name, parameter * 1.0)
    return replicas[model]


def test_replicas_of_data_parallel_are_the_model(model, tmp_path):
    optimizer, witness = sgd(model), Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all"):
        for _ in range(4):
            optimizer.zero_grad()
            losses = {}

            def forward(replica, rows, losses=losses):
                losses[rows] = replica(batch(rows)).square().sum()

            replicas = [replicated(model) for _ in range(2)]
            run_together(lambda r=replicas: forward(r[0], 7), lambda r=replicas: forward(r[1], 5))
            sum(losses.values()).backward()
            optimizer.step()
            witness.end()
    run = StoredRun(tmp_path / "run")
    assert counts(run) == {layer: dict.fromkeys(range(4), 12) for layer in LAYERS}
    # In which order the threads came, nobody knows.
    assert_recorded(run, witness.by_site)


# Interruptions.


@contextmanager
def raising(error, where, model, optimizer):
    """A hook that raises in a forward, a backward pass or a step."""

    def fail(*_):
        raise error("stop")

    handles = {
        "before the forward": lambda: model.register_forward_pre_hook(fail),
        "forward": lambda: model.body[1].register_forward_hook(fail),
        "backward": lambda: model.body[0].weight.register_hook(fail),
        "step": lambda: optimizer.register_step_pre_hook(fail),
        "after the step": lambda: optimizer.register_step_post_hook(fail),
    }
    handle = handles[where]()
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.some(4)
@pytest.mark.parametrize("where", ["before the forward", "forward", "backward", "step", "after the step"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_loses_nothing_that_was_computed(error, where, model, tmp_path):
    """Its forward counts as far as it came, for the next step."""
    optimizer, witness = sgd(model), Witness(layers(model))
    with Recorder(model, tmp_path / "run", samples="all"):
        for step in range(4):
            if step in (1, 2):
                with raising(error, where, model, optimizer), pytest.raises(error):
                    learn(model, optimizer, rows=7)
            learn(model, optimizer)
            witness.end()
    run = StoredRun(tmp_path / "run")
    assert [site.name for site in run.sites] == LAYERS, "no forward is taken for a part of the one that was left"
    assert_recorded(run, witness.by_site)
    assert not hooks_on(model) - len(LAYERS), "but those of the witness"


@pytest.mark.some(3)
@pytest.mark.parametrize("where", ["forward", "backward", "step"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_exception_that_ends_the_training_ends_the_recording(error, where, model, tmp_path):
    optimizer = sgd(model)
    with pytest.raises(error), Recorder(model, tmp_path / "run") as recorder:  # noqa: PT012
        learn(model, optimizer, 3)
        recorder.epoch()
        learn(model, optimizer, 2)
        with raising(error, where, model, optimizer):
            learn(model, optimizer)
    run = StoredRun(tmp_path / "run")
    assert run.finished
    assert [(window.first_step, window.last_step, window.closed) for window in run.window_list] == [
        (0, 2, True),
        (3, 4, True),
    ]
    assert counts(run)["stem"] == dict.fromkeys(range(5), 12)
    assert run.distribution("train", "stem", 2).count.tolist() == [36] * 8
    assert not hooks_on(model)


class Interrupting:
    """Sends the interrupt of Ctrl-C when so many lines of the package have been executed."""

    def __init__(self, lines):
        self.lines = lines
        self.sent = False

    def __enter__(self):
        sys.settrace(self._call)

    def __exit__(self, *_):
        sys.settrace(None)

    def _call(self, frame, *_):
        return self._line if frame.f_code.co_filename.startswith(PACKAGE) else None

    def _line(self, _, event, __):
        self.lines -= event == "line"
        if not self.lines and not self.sent:
            self.sent = True
            signal.raise_signal(signal.SIGINT)
        return self._line


STRIDE = often(131, 67)

PACKAGE = str(Path(icshift.__file__).parent)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_at_any_line_of_ours(tmp_path):
    """In the middle of a step: the script catches it and goes on."""
    learn(model := Network(), sgd(model))
    lines, interrupted = 0, 0
    while True:
        lines += STRIDE
        torch.manual_seed(3)
        model = Network()
        optimizer, path, interrupting = sgd(model), tmp_path / str(lines), Interrupting(lines)
        with Recorder(model, path, window=4, samples=8) as recorder:
            learn(model, optimizer, 2)
            try:
                with interrupting:
                    learn(model, optimizer, 2)
            except KeyboardInterrupt:
                interrupted += 1
            before = recorder.steps
            learn(model, optimizer, 8)
            assert recorder.steps == before + 8
        run = StoredRun(path)
        assert run.finished
        assert [site.name for site in run.sites] == LAYERS
        found = counts(run)
        for layer in LAYERS:
            assert [found[layer][step] for step in range(before + 1, before + 8)] == [12] * 7, lines
        assert not hooks_on(model)
        if not interrupting.sent:
            break
    assert interrupted > 10
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# Processes.


class Heavy(Dataset):
    """Its examples are made by the model that is trained, in the workers of a DataLoader."""

    def __init__(self, model, optimizer):
        self.model, self.optimizer = model, optimizer

    def __len__(self):
        return 48

    def __getitem__(self, index):
        with torch.no_grad():
            self.model(torch.randn(50, 6))
        self.optimizer.step()
        return torch.randn(6, generator=torch.Generator().manual_seed(index)), hooks_on(self.model.stem)


def files(path):
    pause_all()
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def test_workers_of_a_loader_record_nothing(model, tmp_path):
    optimizer, path = sgd(model), tmp_path / "run"
    with Recorder(model, path, window=2):
        own = hooks_on(model.stem)
        for inputs, hooks in DataLoader(
            Heavy(model, optimizer), batch_size=12, num_workers=2, multiprocessing_context="fork"
        ):
            optimizer.zero_grad()
            model(inputs).square().mean().backward()
            optimizer.step()
            assert hooks.tolist() == [0] * 12
            assert hooks_on(model.stem) == own > 0
        model(inputs)  # A window ends when the training goes on.
        assert set(files(path)) == {
            "run.json",
            *(
                f"{folder}/{number:06d}.rank0.parquet"
                for folder, first in (("windows", 1), ("steps", 0))
                for number in (first, first + 1)
            ),
        }
    assert counts(StoredRun(path)) == {layer: dict.fromkeys(range(4), 12) for layer in LAYERS}


def test_a_forked_child_that_leaves_the_block_leaves_the_run_to_its_parent(model, tmp_path):
    optimizer, path, child = sgd(model), tmp_path / "run", None
    try:
        with Recorder(model, path, window=2) as recorder:
            learn(model, optimizer, 3)
            before = files(path)
            child = os.fork()
            if not child:
                learn(model, optimizer, 5, rows=50)
                recorder.step()
                recorder.epoch("the child's")
                with recorder.phase("the child's"):
                    model(batch(50))
                with Recorder(model, tmp_path / "child"):
                    learn(model, optimizer, 2, rows=7)
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            assert files(path) == before
            learn(model, optimizer, 3)
    except BaseException as error:
        if child == 0:
            os._exit(error.code if isinstance(error, SystemExit) else 1)
        raise
    run = StoredRun(path)
    assert run.finished
    assert run.phases == ["train"]
    assert [window.name for window in run.window_list] == ["1", "2", "3"]
    assert counts(run) == {layer: dict.fromkeys(range(6), 12) for layer in LAYERS}
    # What it records itself is its own.
    assert StoredRun(tmp_path / "child").finished
    assert counts(StoredRun(tmp_path / "child")) == {layer: {0: 7, 1: 7} for layer in LAYERS}
