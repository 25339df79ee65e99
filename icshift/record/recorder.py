"""The recorder: from the forwards and steps of a training to a run on disk."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from icshift.errors import RecordingError
from icshift.gradients.layers import Counted
from icshift.gradients.objective import Closure
from icshift.gradients.smoothness import STEPS
from icshift.hooks import compiled, manifest
from icshift.hooks.batch_norm import held_in_eval, probe_statistics
from icshift.hooks.examples import Examples, Inputs
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.padding import Padding
from icshift.hooks.watcher import Keeper, Watcher
from icshift.model.names import unwrapped
from icshift.model.parameters import Parameters
from icshift.model.processes import refuse_waiting, this_process
from icshift.model.sites import Selector, Sites, as_sites
from icshift.notice import notice
from icshift.record.gradients import Gradients, is_due
from icshift.record.journal import Journal, Open
from icshift.record.logged import Logged
from icshift.record.optimizers import as_list, listen
from icshift.record.probe import Probe, rehearse, replays, send
from icshift.runs import interrupts
from icshift.runs.format import FINAL_WEIGHTS, INITIAL_WEIGHTS, NO_STEP, PROBE_FINGERPRINT
from icshift.runs.phases import EVAL, PROBE, PROBE_RUNNING, PROBE_STATISTICS, TRAIN, is_probe
from icshift.runs.writer import Recording, refuse_occupied


class Recorder:
    """Records the activation distribution of every unit of a model, at every step, while it trains.

    A *step* ends with an optimizer's step that follows at least one forward, or with `step()`. `optimizer` names the
    optimizers (one or several) to listen to; without it, any that holds a parameter of the model. A *window* ends
    with `epoch()`, and after `window` steps if that is given. Forwards are recorded under the phase `train` or
    `eval`, after the mode the model is in. `sites` chooses the modules (see `Sites`), `samples` bounds the values a
    unit and step that quantiles are made from ("all": no bound; moments always read every activation). `probe` is a
    fixed set of inputs (see `Probe`) replayed at the end of every window. `mask` is called with the model's arguments
    and returns a boolean tensor [batch, time] (or [batch]) that is true at positions to leave out, as padding: in every
    site that has these axes; sites that have not are recorded whole.

    A model within DistributedDataParallel, FSDP or `torch.compile` is recorded as itself; what was compiled before is
    compiled once more. Every process of a distributed training makes its own recorder with the same path.

    Training with a recorder is bit-identical to training without: what goes wrong within is said in a warning, and
    ends the recording alone. Raises `RunError` if the path exists (unless `force`), `RecordingError` if no module
    matches or the probe does not pass through the model, and at the end of the `with` block if nothing was recorded.

    >>> import icshift, tempfile, torch
    >>> model, inputs = nn.Sequential(nn.Linear(2, 3), nn.ReLU()), torch.ones(8, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> folder = tempfile.TemporaryDirectory()
    >>> with icshift.Recorder(model, f"{folder.name}/run", optimizer=optimizer) as recorder:
    ...     for epoch in range(2):
    ...         model(inputs).square().sum().backward()
    ...         optimizer.step()
    ...         recorder.epoch()
    >>> recorder.steps, recorder.windows, icshift.open(recorder.path).phases
    (2, 2, ['train'])
    >>> folder.cleanup()
    """

    def __init__(
        self,
        model: nn.Module,
        path: str | Path,
        *,
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
        sites: Selector | Iterable[Selector] | Sites | None = None,
        window: int | None = None,
        probe: Probe | Tensor | tuple[Any, ...] | Mapping[str, Any] | None = None,
        samples: int | Literal["all"] = 64,
        mask: Callable[..., Tensor] | None = None,
        force: bool = False,
    ) -> None:
        if samples != "all" and (not isinstance(samples, int) or samples < 2):
            raise RecordingError(f'samples must be "all" or at least 2 values a unit and step, got {samples!r}')
        if window is not None and window < 1:
            raise RecordingError(f"window must be at least 1 step, got {window}")
        self.model = unwrapped(model)
        self.path = Path(path)
        self._rank, self._ranks = this_process()
        refuse_occupied(self.path, force=force, rank=self._rank, ranks=self._ranks)
        self._force = force
        self._optimizers = as_list(optimizer)
        self._sites = as_sites(sites)
        self.window = window
        """Steps that end a window, or None: only `epoch` ends one. It may be changed while recording."""
        self._probe = probe if probe is None or isinstance(probe, Probe) else Probe(probe)
        if self._probe is not None:
            self._probe.size  # noqa: B018  (raises early, before the training starts)
            if self._ranks > 1:
                refuse_waiting(self.model, training=self._probe.train_mode)
        self._frozen: frozenset[nn.Module] = frozenset()
        self._samples = samples
        kept = math.inf if samples == "all" else samples
        self._observer = Observer(self._sites, kept, SEED, self._keep_steps, self._rank)
        keeper = Keeper(self._take, self._forward_ended, self._give_up, self._forward_began)
        self._examples = Examples(self.model, SEED)
        self._logged = Logged()
        self._watcher = Watcher(self.model, self._sites, self._observer, keeper, mask)
        self._gave_up = ""
        self._label: str | None = None
        self._step = 0
        self._clocked = False
        self._resources: ExitStack | None = None

    def __enter__(self) -> Self:
        if self._resources is not None:
            raise RecordingError("this recorder is recording already, or has been: make a new one")
        self._note_frozen()
        if self._probe is not None and not self._rank:
            rehearse(self.model, self._probe, self._frozen)
        settings = {
            "samples": self._samples,
            "window_steps": self.window,
            "max_units": self._sites.max_units,
            "probe_examples": 0 if self._probe is None else self._probe.size,
            PROBE_FINGERPRINT: None if self._probe is None else self._probe.fingerprint,
            PROBE_STATISTICS: probe_statistics(self.model),
            "seed": SEED,
        }
        self._parameters = Parameters(self.model)
        beginning = manifest.beginning(self.model, settings) | {INITIAL_WEIGHTS: self._parameters.fingerprint()}
        self._recording = Recording(self.path, beginning, force=self._force, rank=self._rank, ranks=self._ranks)
        self._gradients = Gradients(self.model, self._optimizers, self._recording.append_measured)
        self._process = os.getpid()
        seen = Open(self._observer.distributions, self._examples.seen, self._logged.taken)
        self._journal = Journal(self._recording, seen, self._state)
        self._started = time.perf_counter()
        self._listen()
        compiled.compile_again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._resources is not None
        if os.getpid() != self._process:
            return  # A child of the process that records: what there is to write is its parent's.
        with self._watcher.guard, self._resources, self._safely():
            self._gradients.settle()
            self._tick_rest()
            self._close_window(name=None, replay_probe=kind is None)
            self._journal.flush()
            self._logged.close(f"the recording of {self.path} has ended")
            self._recording.finish(self._state() | {FINAL_WEIGHTS: self._parameters.fingerprint()})
        self._watcher.close()
        if kind is None and not self._observer.sites:
            reasons = self._gave_up or "; ".join(dict.fromkeys(entry["reason"] for entry in self._state()["ledger"]))
            raise RecordingError(f"nothing was recorded in {self.path}: {reasons}")

    @property
    def steps(self) -> int:
        """How many steps have ended."""
        return self._step

    @property
    def windows(self) -> int:
        """How many windows have ended."""
        return self._journal.window.index - 1 if self._resources else 0

    def step(self) -> None:
        """End a step, where no optimizer of PyTorch does."""
        if os.getpid() == self._process:
            with self._safely():
                self._gradients.stepped(after_forward=self._observer.step_begun)
                self._tick()
                self._clocked = True

    def log(self, **values: Any) -> None:
        """Keep numbers of the training's own, as `log(loss=loss, accuracy=0.9)`, at the step that they are of.

        That is the step under way or, once it ended, the last one. Values are floats or tensors of one number, on any
        device, and may be NaN; nothing waits for a GPU. Read them with `icshift.open(path).logged()`.

        Raises `RecordingError` before the `with` block, and at once for what is no number. After it they are not kept.
        """
        if self._resources is None:
            raise RecordingError("numbers are logged while recording: call this within the recorder's with block")
        step, window = max(self._step - (not self._observer.step_begun), 0), self._journal.window
        with self._watcher.guard:
            self._logged.note(values, step, window.index - (step < window.first_step))

    def gradient_shift(
        self,
        closure: Closure,
        *,
        every: int = 1,
        layers: str | Iterable[str] | None = None,
        counted: Counted = "all",
    ) -> None:
        """Measure how much the step to come changes the gradient of each layer by changing those before it.

        This is the internal covariate shift of Santurkar et al. (2018), Definition 2.1. To be called before every
        optimizer's step; `closure` computes the loss of this batch, also when the loop went on (`lambda x=x: ...`), and
        is called, every `every` steps, once a layer and once more. The step is the optimizer's own. `layers` are names
        or globs of modules that own parameters; of these "weights" counts those of two and more dimensions, "all" also
        biases and what scales a normalisation. Read it with `icshift.open(path).gradient_shift()`.

        Raises `RecordingError` before the `with` block or with several processes, `SelectionError` for layers that are
        not there, `MeasurementError` where the closure gives no loss.
        """
        with self._measuring(every) as due:
            self._gradients.settle()
            if due:
                self._gradients.before_step(self._step, closure, layers, counted, every)

    def smoothness(
        self, closure: Closure, *, every: int = 1, rate: float | None = None, steps: Sequence[float] = STEPS
    ) -> None:
        """Measure the loss and its gradient along the gradient, at `steps` times the learning rate `rate`.

        To be called as `gradient_shift` is; `closure` is called once a length of step and twice more. By default the
        rate is the optimizers', and nothing is measured where it is 0. Read it with `icshift.open(path).smoothness()`.
        """
        with self._measuring(every) as due:
            if due:
                self._gradients.look_around(self._step, closure, rate, steps, every)

    @contextmanager
    def _measuring(self, every: int) -> Iterator[bool]:
        if self._resources is None:
            raise RecordingError("gradients are measured while recording: call this within the recorder's with block")
        with self._watcher.guard, self._watcher.stopwatch:
            listening = self._watcher.attachment.attached and os.getpid() == self._process
            yield is_due(self._step, every, self._ranks) and listening

    def epoch(self, name: str | None = None) -> None:
        """Replay the probe and end a window, which is named after its number unless `name` is given.

        A window without a forward does not end: it goes on.
        """
        if os.getpid() == self._process:
            with self._safely():
                self._tick_rest()
                self._close_window(name, replay_probe=True)

    @contextmanager
    def phase(self, label: str) -> Iterator[None]:
        """A block whose forwards are recorded under a phase of this name (as `fake` in a GAN's discriminator).

        Raises `RecordingError` for the phases of probes.
        """
        if is_probe(label):
            raise RecordingError(
                f"the phase {label!r} is the recorder's own: choose a name that does not begin with {PROBE!r}"
            )
        before, self._label = self._label, label
        try:
            yield
        finally:
            self._label = before

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A block within which nothing is recorded but the probe, if a window ends within.

        Forwards cost what they cost without a recorder (those of compiled models keep hooks that do nothing).
        """
        if self._resources is None or not self._watcher.attachment.attached:
            yield
            return
        self._resources.close()
        try:
            yield
        finally:
            if not self._gave_up:
                self._listen()

    def _listen(self) -> None:
        """Begin the block of listening that `paused` interrupts and leaving the recorder ends."""
        with ExitStack() as stack:
            interrupts.install()
            stack.callback(interrupts.restore)
            stack.enter_context(self._watcher.listening())
            stack.enter_context(listen(self._optimizers, self._watcher.attachment, self.step))
            self._resources = stack.pop_all()

    def _take(self, site: str, module: nn.Module, tensor: Tensor, padding: Padding | None) -> None:
        """Hand a site's tensor to the observer, under the phase that the model is in now."""
        self._observer.observe(site, module, tensor, self._phase, stepping=self._stepping, padding=padding)

    def _forward_began(self, part: nn.Module | None, inputs: Inputs | None) -> None:
        if not is_probe(self._phase):  # A probe's inputs are the same in every window.
            self._examples.take(self._phase, part, inputs, sure=self._stepping)

    def _forward_ended(self) -> None:
        if not self._stepping:
            with self._safely():
                self._observer.tick(self._step, stepping=False)

    @property
    def _phase(self) -> str:
        return self._label or (TRAIN if self.model.training else EVAL)

    @property
    def _stepping(self) -> bool:
        """Whether forwards belong to a step: in training mode they do, in eval mode and in probes they do not."""
        return self.model.training and (self._label is None or not is_probe(self._label))

    def _tick(self) -> None:
        self._watcher.attachment.refresh()
        if not self._observer.step_begun:
            return
        if self._step == (first := self._journal.window.first_step):
            self._watcher.notice_bypassed()
            self._note_frozen()
        self._observer.tick(self._step, stepping=True)
        self._step += 1
        if self.window and self._step - first >= self.window:
            self._close_window(name=None, replay_probe=True)
        else:
            self._journal.flush_if_due(self._step)

    def _note_frozen(self) -> None:
        """Note which layers the training keeps in eval mode: they normalise by running averages in a probe too."""
        if self.model.training:
            self._frozen = held_in_eval(self.model)

    def _tick_rest(self) -> None:
        """Add to the window forwards that no step followed, as a discriminator's for its generator's sake."""
        if not self._clocked:
            self._tick()
        elif self._observer.step_begun:
            self._observer.tick(NO_STEP, stepping=True)

    def _close_window(self, name: str | None, *, replay_probe: bool) -> None:
        if not self._observer.holding:
            return
        if replay_probe and self._probe is not None and not self._rank:
            self._replay(self._probe)
        self._journal.close_window(name, self._step, self._parameters.change())
        self._observer.new_window()
        self._examples.new_window()
        if self._step:  # What comes before the first step has no gradients that would show what reads which site.
            self._watcher.stop_following()

    def _replay(self, probe: Probe) -> None:
        self._observer.restart_probe(probe.forwards)
        before = self._label
        try:
            with ExitStack() as stack:
                if not self._watcher.attachment.attached:  # The window ends in a pause: its probe belongs to it.
                    stack.enter_context(self._watcher.listening())
                self._send(probe)
        except Exception as error:  # noqa: BLE001  The training goes on, without the probe.
            self._probe = None
            notice(f"icshift stopped replaying the probe: {error}")
        finally:
            self._label = before

    def _send(self, probe: Probe) -> None:
        for phase, mode in replays(self.model, probe, self._frozen):
            self._label = phase
            if phase == PROBE_RUNNING:
                self._observer.restart_probe(probe.forwards)  # The same places as in `probe`, to compare with.
            with mode, self._watcher.hearing():
                send(self.model, probe)

    def _keep_steps(self, *rows: Any) -> None:
        self._recording.append_steps(*rows)

    @contextmanager
    def _safely(self) -> Iterator[None]:
        """A block that counts as time spent recording; an error within, as a full disk, ends the recording alone."""
        with self._watcher.guard, self._watcher.stopwatch:
            try:
                yield
            except Exception as error:  # noqa: BLE001
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        # The optimizer's hooks stay: this may run in one of them, and none can go while they are being called.
        self._gave_up = str(error) or type(error).__name__
        self._logged.close()
        self._watcher.stop()
        self._observer.new_window()
        notice(f"icshift stopped recording to {self.path}: {error}", stacklevel=5)

    def _state(self) -> dict[str, Any]:
        return {
            **self._watcher.state(),
            "steps": self._step,
            "measured": self._gradients.settings,
            "overhead": self._watcher.stopwatch.overhead(self._started),
        }
