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
from icshift.given import truth
from icshift.hooks import compiled, manifest
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
from icshift.record import live
from icshift.record.beginning import Asked
from icshift.record.clock import Clock
from icshift.record.forwards import Forward, Forwards
from icshift.record.gradients import Gradients
from icshift.record.interruption import MEASURING, note_beside
from icshift.record.journal import Journal, Open
from icshift.record.logged import Logged
from icshift.record.measuring import Measuring
from icshift.record.optimizers import as_list, listen
from icshift.record.probe import Probe
from icshift.record.replays import Replays
from icshift.record.settings import as_probe, as_samples, as_window, asked_for, budget
from icshift.record.steady import Steady
from icshift.record.thinning import Thinning
from icshift.record.troubles import Troubles
from icshift.record.windows import Seen, Windows
from icshift.runs import interrupts
from icshift.runs.format import INITIAL_WEIGHTS, NO_STEP, Site
from icshift.runs.phases import NO_GRAD, PROBE, is_probe


class Recorder(Steady, Measuring):
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
    Training with a recorder is bit-identical to training without: what goes wrong within is said in one warning, and
    interrupts the recording alone, until it can be written again; the run says which steps it lacks. Raises `RunError`
    if the path exists (unless `force`), and `RecordingError` if it cannot be written, no module matches or the probe
    does not pass through the model; where nothing was recorded it warns or, if `strict`, raises at the end. `resume`
    goes on with the run of a training that was stopped, after the window at whose end the model had the parameters that
    it has now, or after so many steps; where there is no run, one begins.

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
        resume: bool | int = False,
        strict: bool = False,
    ) -> None:
        self._samples, self.window, self._strict = as_samples(samples), as_window(window), truth("strict", strict)
        self.model = unwrapped(model)
        self.path = Path(path).absolute()  # The training may go to another directory.
        self._rank, self._ranks = this_process()
        self._budget = budget(overhead, self._ranks)
        self._asked = Asked(self.path, force, resume, self._rank, self._ranks)
        self._asked.refuse()
        self._optimizers = as_list(optimizer)
        self._sites = lowered(self.model, as_sites(sites))
        self._probe = given = as_probe(probe, self.model, self._ranks)
        most = math.inf if self._samples == "all" else self._samples
        self._observer = Observer(self._sites, most, SEED, self._keep_steps, self._rank)
        self.forwards = Forwards(self.model)
        self._logged = Logged()
        self._troubles = Troubles(self.path, self._observer, self._logged)
        self._faults = self._troubles.faults
        begins = self._forward_began, self._leaves_out, self._observer.again
        again = self._began_again, self._goes_on, self._begins_again, self._forward_passes
        keeper = Keeper(self._take, self._forward_ended, self._troubles.give_up, *(*begins, *again))
        self._examples = Examples(self.model, SEED)
        self._watcher = Watcher(self.model, self._sites, self._observer, keeper, mask)
        self._replays = Replays(self.model, None if self._rank else given, self._observer, self._watcher, self.forwards)
        self.stopwatch = self._watcher.stopwatch
        self._thinning = Thinning(self._budget, self.stopwatch)
        self.parts: tuple[Any, ...] = (self._watcher, self._examples, self.forwards, self._replays)
        """What is about this very model, and goes on with another by `follow`."""
        self._clock = Clock(self.model, lambda: self._watcher.attachment.choices)
        self._clocked = self._closed = False
        self._process = os.getpid()
        self._resources: ExitStack | None = None

    def __enter__(self) -> Self:
        return self.start()

    def start(self) -> Self:
        """Begin to record, until `close`, as where cells of a notebook are not one block; returns the recorder.

        Where the end of its process does that, the run says that it was never closed.
        """
        if self._resources is not None:
            raise RecordingError("this recorder is recording already, or has been: make a new one")
        self._replays.note_frozen()
        self._watcher.leave_copies_out(lambda parameter: parameter.requires_grad)
        self._replays.rehearse()
        settings = asked_for(self.model, self._samples, self.window, self._sites, self._probe, self._budget)
        parameters = Parameters(self.model)
        beginning = manifest.beginning(self.model, settings) | {INITIAL_WEIGHTS: parameters.fingerprint()}
        live.begin(self)
        self._begun = begun = self._asked.begin(beginning, parameters)
        self._gradients = Gradients(self.model, self._optimizers, begun.recording.append_measured)
        observer, examples = self._observer, self._examples
        parts, counts = (examples.seen, observer.part, examples.part), (self._left_out, lambda: len(observer.sites))
        seen = Open(observer.units_held, observer.distributions, *parts, self._logged.taken, *counts, self._to_resume)
        self._journal = Journal(begun.recording, seen, self._state)
        begun.restore(self._clock, observer, self._journal, self._thinning, self._faults)
        holds = Seen(observer, examples, self._replays)
        self._windows: Windows = Windows(self._journal, holds, parameters, self.window, provided=begun.provided)
        self._troubles.begin(begun.recording, self._journal, self._windows, self._watcher, self._clock, self._state)
        self.parts = (*self.parts, self._clock, self._windows)
        self._thinning.start()
        self._started = time.perf_counter()
        self._listen()
        compiled.compile_again()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def close(self, error: BaseException | None = None) -> None:
        """End the recording, with the exception that ended the training if one did; a second call does nothing.

        Warns where nothing was recorded or, of a `strict` recorder, raises `RecordingError`.
        """
        # A child of the process that records has nothing to write: that is its parent's.
        if self._resources is None or self._closed or os.getpid() != self._process:
            return
        self._closed = True
        live.end(self)
        with self._watcher.guard, self._resources:
            with self._troubles.safely():
                self._gradients.settle()
                self._tick_rest()
                self._troubles.end_last(replay_probe=error is None)
                self._rest()
                self._journal.settle()
            self._logged.close(f"the recording of {self.path} has ended")
            note_beside(self.stopwatch, MEASURING * (time.perf_counter() - self._started))
            self._troubles.write_end(error)
        self._watcher.close()
        if error is None and not self._observer.sites:
            self._troubles.saw_nothing(why_nothing(self._state()["ledger"]), strict=self._strict)

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
        self._refuse_idle("steps end")
        self._stepped(by_word=True)

    def log(self, **values: Any) -> None:
        """Keep numbers of the training's own, as `log(loss=loss, accuracy=0.9)`, at the step that they are of.

        That is the step under way or, once it ended, the last one. Values are floats or tensors of one number, on any
        device, and may be NaN; nothing waits for a GPU. Read them with `icshift.open(path).logged()`.

        Raises `RecordingError` before the `with` block, and at once for what is no number. After it they are not kept.
        """
        self._refuse_idle("numbers are logged")
        step, window = max(self.steps - (not self._observer.step_begun), 0), self._journal.window
        number = None if self._journal.provisional else window.index - (step < window.first_step)
        with self._watcher.guard:
            self._logged.note(values, step, number)

    def epoch(self, name: str | None = None) -> None:
        """Replay the probe and end a window, which is named after its number unless `name` is given.

        A window without a forward does not end: it goes on.
        """
        self._refuse_idle("windows end")
        if os.getpid() == self._process and not self._faults.over:
            with self._troubles.safely():
                self._nothing_passes()
                self._tick_rest()
                if self._faults.waiting:
                    self._troubles.window_ends(name)
                else:
                    self._windows.epoch(self.steps, name)
                self._rest()

    def epoch_begins(self) -> None:
        """Replay the probe, and end the window with the next forward in training, unless no step ended in it."""
        if os.getpid() == self._process and not self._faults.over:
            with self._troubles.safely():
                self._nothing_passes()
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
            if not (self._faults.over or self._closed):
                self._listen()

    def _refuse_idle(self, what: str) -> None:
        if self._resources is None:
            raise RecordingError(f"{what} while recording: call this within the recorder's with block")

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
        if left_out and forward.stepping:
            self._observer.begin_step()
        if not is_probe(forward.phase):  # A probe's inputs are the same in every window.
            inputs = None if left_out else call.inputs  # Which examples the window saw is not known then.
            self._examples.take(forward.phase, call.part, inputs, sure=forward.stepping)
        return forward

    def _training_goes_on(self) -> None:
        """End the window that is over, if one is, before anything is taken in that follows it."""
        if self._windows.ends(self.steps, self.window):
            with self._troubles.safely():
                if self._observer.step_begun:
                    self._observer.tick(NO_STEP, stepping=True)
                if not self._faults.waiting:
                    self._windows.go_on(self.steps, self.window)
                elif self._windows.whole_ends(self.steps, self.window):
                    self._troubles.window_ends()
                self._rest()

    def _take(self, site: str, module: nn.Module, tensor: Tensor, forward: Forward, padding: Padding | None) -> None:
        """Hand a site's tensor to the observer, under the phase of the forward that it is of."""
        if self._leaves_out(forward):
            return
        self.forwards.took(site, forward)
        self._observer.observe(site, module, tensor, forward.phase, stepping=forward.stepping, padding=padding)

    def _forward_ended(self, forward: Forward) -> None:
        if not forward.stepping:
            with self._troubles.safely():
                self._observer.tick(self.steps, stepping=False)

    def _stepped(self, *, by_word: bool = False) -> None:
        if not by_word and (self._ends_again() if self._going_on else self._step_passes()):
            return
        if os.getpid() == self._process and not self._faults.over:
            with self._troubles.safely():
                self._gradients.stepped(after_forward=self._observer.step_begun)
                self._tick(heard=self.forwards.trained or (by_word and self.forwards.trains_without_gradients))
                self._clocked = True

    def _tick(self, *, heard: bool) -> None:
        self._watcher.attachment.refresh()
        if not heard:
            self._training_goes_on()
        step = self.steps
        if not self._clock.ends(heard=heard):
            return
        if step == self._journal.window.first_step or self._clock.changed:
            # What is called in a step that is left out is not seen to be called.
            trained = None if self._thinning.began or self._faults.told else self.forwards.trained_sites(heard=heard)
            self._watcher.look_at_gradients(trained, first=step == 0)
            self._replays.note_frozen()
        self._observer.tick(step, stepping=True)
        self.forwards.next_step()
        self._tell_passed(step)
        self._thinning.ended(self._journal.written)
        if not self._faults.waiting:
            self._windows.stepped(self.steps, self.window)
            self._journal.flush_if_due(self.steps)
            self._let_go_on(heard=heard)  # Not where writing raised: it is tried again after each step.
        elif self._faults.due():
            self._troubles.go_on()

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
        self._begun.recording.append_steps(*rows)

    def _to_resume(self) -> dict[str, Any]:
        return {"parameters": self._windows.parameters.mark(), "sampling": self._observer.sampling()}

    def _state(self) -> dict[str, Any]:
        state = {
            **self._watcher.state(),
            "steps": self.steps,
            "unheard_steps": self._clock.unheard,
            "measured": self._gradients.settings,
            "overhead": self._watcher.stopwatch.overhead(self._started, self._begun.recording.seconds_behind()),
            **self._thinning.state(self.steps, self._faults.spans(0, self.steps - 1)),
            **self._faults.entries(),
        }
        return self._begun.state(state)
