"""The recorder: from the forwards and steps of a training to a run on disk."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from torch import Tensor, nn
from torch.optim.optimizer import Optimizer

from icshift.errors import RecordingError
from icshift.hooks import compiled, manifest
from icshift.hooks.again import Take
from icshift.hooks.calls import Call
from icshift.hooks.coverage import why_nothing
from icshift.hooks.examples import Examples
from icshift.hooks.observer import SEED, Observer
from icshift.hooks.padding import Padding
from icshift.hooks.watcher import Keeper, Watcher
from icshift.model.names import unwrapped
from icshift.model.parameters import Parameters
from icshift.model.processes import this_process
from icshift.model.sites import Selector, Sites, as_sites
from icshift.model.unit_budget import lowered
from icshift.notice import notice
from icshift.record.clock import Clock
from icshift.record.forwards import Forward, Forwards
from icshift.record.gradients import Gradients
from icshift.record.interruption import MEASURING, beside
from icshift.record.journal import Journal, Open
from icshift.record.logged import Logged
from icshift.record.measuring import Measuring
from icshift.record.optimizers import as_list, listen
from icshift.record.passing import Passing
from icshift.record.probe import Probe
from icshift.record.replays import Replays
from icshift.record.settings import as_probe, asked_for, budget, refuse_settings
from icshift.record.thinning import Thinning
from icshift.record.windows import Seen, Windows
from icshift.runs import interrupts
from icshift.runs.format import FINAL_WEIGHTS, INITIAL_WEIGHTS, NO_STEP, OVERHEAD, Site
from icshift.runs.phases import NO_GRAD, PROBE, is_probe
from icshift.runs.writer import Recording, refuse_occupied

_FIRST = 0.1
"""Seconds that may go into measuring, beforehand, what hooks cost beside the time within them."""


class Recorder(Measuring, Passing):
    """Records the activation distribution of every unit of a model, at every step, while it trains.

    A *step* ends with an optimizer's step that follows at least one forward, or with `step()`. `optimizer` names the
    optimizers (one or several) to listen to; without it, any that holds a parameter of the model. A *window* ends with
    `epoch()`, and after `window` steps if that is given; "auto" leaves 10 to 20 windows of equally many steps, whatever
    their number, unless `epoch()` is called. Forwards are recorded under the phase `train` or `eval`, after
    the mode that the outermost module called is in; under `no-grad`, and as part of no step, those in training mode
    through which no gradients are computed. `sites` chooses the modules (see `Sites`), `samples` bounds the values a
    unit and step that quantiles are made from ("all": no bound; moments always read every activation). `probe` is a
    fixed set of inputs (see `Probe`) replayed at the end of every window. `mask` is called with the model's arguments
    and returns a boolean tensor [batch, time] (or [batch]) that is true at positions to leave out, as padding: in every
    site that has these axes; sites that have not are recorded whole. `overhead` is a budget: where recording takes more
    than this share of the training's own time (0.03: 3 %), one step in 2, 4, 8 … is recorded, and the run tells which.

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

    def __init__(  # noqa: PLR0913  (each is a choice of the user's)
        self,
        model: nn.Module,
        path: str | Path,
        *,
        optimizer: Optimizer | Iterable[Optimizer] | None = None,
        sites: Selector | Iterable[Selector] | Sites | None = None,
        window: int | Literal["auto"] | None = None,
        probe: Probe | Tensor | list[Tensor] | tuple[Any, ...] | Mapping[str, Any] | None = None,
        samples: int | Literal["all"] = 64,
        mask: Callable[..., Tensor] | None = None,
        overhead: float | None = None,
        force: bool = False,
    ) -> None:
        refuse_settings(samples, window)
        self.model = unwrapped(model)
        self.path = Path(path)
        self._rank, self._ranks = this_process()
        self._budget = budget(overhead, self._ranks)
        refuse_occupied(self.path, force=force, rank=self._rank, ranks=self._ranks)
        self._force = force
        self._optimizers = as_list(optimizer)
        self._sites = lowered(self.model, as_sites(sites))
        self.window = window
        """Steps that end a window, "auto", or None: only `epoch` ends one. A number may be changed while recording."""
        self._probe = given = as_probe(probe, self.model, self._ranks)
        self._samples = samples
        most = math.inf if samples == "all" else samples
        self._observer = Observer(self._sites, most, SEED, self._keep_steps, self._rank)
        self.forwards = Forwards(self.model)
        keeper = Keeper(
            self._take,
            self._forward_ended,
            self._give_up,
            self._forward_began,
            self._leaves_out,
            self._again,
            self._forward_passes,
        )
        self._examples = Examples(self.model, SEED)
        self._logged = Logged()
        self._watcher = Watcher(self.model, self._sites, self._observer, keeper, mask)
        self._replays = Replays(self.model, None if self._rank else given, self._observer, self._watcher, self.forwards)
        self.stopwatch = self._watcher.stopwatch
        self._thinning = Thinning(self._budget, self.stopwatch)
        self.parts: tuple[Any, ...] = (self._watcher, self._examples, self.forwards, self._replays)
        """What is about this very model, and goes on with another by `follow`."""
        self._gave_up = ""
        self._clock = Clock(self.model, lambda: self._watcher.attachment.choices)
        self._clocked = False
        self._resources: ExitStack | None = None

    def __enter__(self) -> Self:
        if self._resources is not None:
            raise RecordingError("this recorder is recording already, or has been: make a new one")
        self._replays.note_frozen()
        self._watcher.leave_copies_out(lambda parameter: parameter.requires_grad)
        self._replays.rehearse()
        settings = asked_for(self.model, self._samples, self.window, self._sites, self._probe)
        settings |= {} if self._budget is None else {OVERHEAD: self._budget}
        parameters = Parameters(self.model)
        beginning = manifest.beginning(self.model, settings) | {INITIAL_WEIGHTS: parameters.fingerprint()}
        self._recording = Recording(self.path, beginning, force=self._force, rank=self._rank, ranks=self._ranks)
        self._gradients = Gradients(self.model, self._optimizers, self._recording.append_measured)
        self._process = os.getpid()
        observer, examples = self._observer, self._examples
        inputs, logged = (examples.seen, observer.part, examples.part), self._logged.taken
        seen = Open(observer.units_held, observer.distributions, *inputs, logged, self._thinning.left_out)
        self._journal = Journal(self._recording, seen, self._state)
        self._windows = Windows(self._journal, Seen(observer, examples, self._replays), parameters, self.window)
        self.parts = (*self.parts, self._clock, self._windows)
        if self._budget is not None:
            self.stopwatch.beside = beside(_FIRST)
        self._started = time.perf_counter()
        self._thinning.start()
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
            self._windows.close_last(self.steps, replay_probe=kind is None)
            self._rest()
            self._journal.flush()
            self._logged.close(f"the recording of {self.path} has ended")
            self.stopwatch.beside = beside(MEASURING * (time.perf_counter() - self._started))
            self._recording.finish(self._state() | {FINAL_WEIGHTS: self._windows.parameters.fingerprint()})
        self._watcher.close()
        if kind is None and not self._observer.sites:
            reason = self._gave_up or why_nothing(self._state()["ledger"])
            raise RecordingError(f"nothing was recorded in {self.path}: {reason}")

    @property
    def steps(self) -> int:
        """How many steps have ended."""
        return self._clock.steps

    @property
    def sites(self) -> tuple[Site, ...]:
        """The sites that were seen so far."""
        return tuple(self._observer.sites.values())

    @property
    def windows(self) -> int:
        """How many windows have ended. Those that nobody set an end to are joined two and two as they become many."""
        return self._journal.ended if self._resources else 0

    def step(self) -> None:
        """End a step, where no optimizer of PyTorch does."""
        self._stepped(by_word=True)

    def log(self, **values: Any) -> None:
        """Keep numbers of the training's own, as `log(loss=loss, accuracy=0.9)`, at the step that they are of.

        That is the step under way or, once it ended, the last one. Values are floats or tensors of one number, on any
        device, and may be NaN; nothing waits for a GPU. Read them with `icshift.open(path).logged()`.

        Raises `RecordingError` before the `with` block, and at once for what is no number. After it they are not kept.
        """
        if self._resources is None:
            raise RecordingError("numbers are logged while recording: call this within the recorder's with block")
        step, window = max(self.steps - (not self._observer.step_begun), 0), self._journal.window
        number = None if self._journal.provisional else window.index - (step < window.first_step)
        with self._watcher.guard:
            self._logged.note(values, step, number)

    def epoch(self, name: str | None = None) -> None:
        """Replay the probe and end a window, which is named after its number unless `name` is given.

        A window without a forward does not end: it goes on.
        """
        if os.getpid() == self._process:
            with self._safely():
                self._tick_rest()
                self._windows.epoch(self.steps, name)
                self._rest()

    def epoch_begins(self) -> None:
        """Replay the probe, and end the window with the next forward in training, unless no step ended in it."""
        if os.getpid() == self._process:
            with self._safely():
                self._windows.epoch_begins(self.steps)

    def epoch_goes_on(self) -> None:
        """Take `epoch_begins` back, unless the window has ended since."""
        self._windows.epoch_goes_on()

    @contextmanager
    def phase(self, label: str) -> Iterator[None]:
        """A block whose forwards are recorded under a phase of this name (as `fake` in a GAN's discriminator).

        Raises `RecordingError` for the phases of probes.
        """
        if is_probe(label):
            raise RecordingError(
                f"the phase {label!r} is the recorder's own: choose a name that does not begin with {PROBE!r}"
            )
        with self.forwards.labelled(label):
            yield

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
            stack.enter_context(listen(self._optimizers, self._watcher.attachment, self._stepped))
            self._resources = stack.pop_all()

    def _forward_began(self, call: Call) -> Forward:
        forward = self.forwards.begun(call)
        if forward.stepping or (forward.phase == NO_GRAD and self.forwards.trains_without_gradients):
            self._training_goes_on()
        left_out = self._leaves_out(forward)
        if left_out:
            self._observer.begin_step()
        if not is_probe(forward.phase):  # A probe's inputs are the same in every window.
            inputs = None if left_out else call.inputs  # Which examples the window saw is not known then.
            self._examples.take(forward.phase, call.part, inputs, sure=forward.stepping)
        return forward

    def _leaves_out(self, forward: Forward) -> bool:
        return forward.stepping and self._thinning.leaves_out

    def _training_goes_on(self) -> None:
        """End the window that is over, if one is, before anything is taken in that follows it."""
        if self._windows.ends(self.steps, self.window):
            with self._safely():
                if self._observer.step_begun:
                    self._observer.tick(NO_STEP, stepping=True)
                self._windows.go_on(self.steps, self.window)
                self._rest()

    def _take(self, site: str, module: nn.Module, tensor: Tensor, forward: Forward, padding: Padding | None) -> None:
        """Hand a site's tensor to the observer, under the phase of the forward that it is of."""
        if self._leaves_out(forward):
            return
        self.forwards.took(site, forward)
        self._observer.observe(site, module, tensor, forward.phase, stepping=forward.stepping, padding=padding)

    def _again(self, site: str, tensor: Tensor, forward: Forward) -> Take | None:
        return self._observer.again(site, tensor, forward.phase, stepping=forward.stepping)

    def _forward_ended(self, forward: Forward) -> None:
        if not forward.stepping:
            with self._safely():
                self._observer.tick(self.steps, stepping=False)

    def _stepped(self, *, by_word: bool = False) -> None:
        if not by_word and self._step_passes():
            return
        if os.getpid() == self._process:
            with self._safely():
                self._gradients.stepped(after_forward=self._observer.step_begun)
                self._tick(heard=self.forwards.trained or (by_word and self.forwards.trains_without_gradients))
                self._clocked = True

    def _tick(self, *, heard: bool) -> None:
        self._watcher.attachment.refresh()
        if not heard:
            self._training_goes_on()
        step, first = self.steps, self._journal.window.first_step
        if not self._clock.ends(heard=heard):
            return
        if step == first or self._clock.changed:
            # What is called in a step that is left out is not seen to be called.
            trained = None if self._thinning.began else self.forwards.trained_sites(heard=heard)
            self._watcher.look_at_gradients(trained, first=step == 0)
            self._replays.note_frozen()
        self._observer.tick(step, stepping=True)
        self.forwards.next_step()
        self._thinning.passed(step - self._thinning.steps)
        self._thinning.ended(self._journal.written)
        self._let_pass()
        self._windows.stepped(self.steps, self.window)
        self._journal.flush_if_due(self.steps)

    def _tick_rest(self) -> None:
        """Add to the window forwards that no step followed, as a discriminator's for its generator's sake."""
        if not self._clocked and self.forwards.trained:
            self._tick(heard=True)
        elif self._clocked and self._observer.step_begun:
            self._observer.tick(NO_STEP, stepping=True)

    def _rest(self) -> None:
        if self.steps:  # What comes before the first step has no gradients that would show what reads which site.
            self._watcher.stop_following()

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
            "steps": self.steps,
            "unheard_steps": self._clock.unheard,
            "measured": self._gradients.settings,
            "overhead": self._watcher.stopwatch.overhead(self._started),
            **self._thinning.state(self.steps),
        }
