"""The distributions of the open window, made from the tensors that hooks see."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from icshift.distribution import Distribution
from icshift.errors import RecordingError
from icshift.hooks.again import Place
from icshift.hooks.padding import Padding
from icshift.hooks.transfer import Transfer
from icshift.model.layout import by_unit
from icshift.model.plain import dense, is_plain, refuse_split
from icshift.model.sites import Sites, describe
from icshift.model.torch_private import is_seen, unseen
from icshift.notice import notice
from icshift.runs.format import Site, StepRows, kept_units
from icshift.runs.phases import is_probe
from icshift.sketch import moments as exact
from icshift.sketch.accumulator import BLOCK_VALUES, Accumulator
from icshift.sketch.kernel_native import layout_of
from icshift.sketch.sampler import ExampleSampler, Sampler, stream_of
from icshift.sketch.workspace import Workspace

SEED = 20150211
"""What every random choice of a recording follows from, unless an observer is given another."""

FORWARD_SAMPLES = 1024
"""Values a unit and forward that quantiles are made from where forwards belong to no step: in eval mode, in probes."""

_OF_NUMPY = (torch.float32, torch.float64)

_FEWEST_UNITS = 16
"""Units that a site may have although all sites together have as many as they may: what is called ever anew has ever
new sites."""

_ALL_BLOCKS, _SHARES = 1 << 24, 16
"""Values that wait in all blocks, about; the part of what is left that the next site gets: sixty have full ones."""

Sink = Callable[[str, Site, StepRows], None]
Distributions = dict[tuple[str, Site], Distribution]


class Observer:
    """Keeps one accumulator a phase and site for the open window, and the table of sites seen so far.

    `samples` bounds the values a unit and step that quantiles are made from; infinity keeps every activation. All
    random draws follow from `seed`; `rank` makes those of several processes differ. `sink(phase, site, rows)` gets rows
    of training steps that ended, several at a time.

    >>> observer = Observer(Sites(), 64, SEED, lambda phase, site, rows: None)
    >>> observer.observe("fc", nn.Linear(1, 2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "train", stepping=True)
    >>> observer.tick(0, stepping=True)
    >>> [(phase, site.name, seen.count.tolist()) for (phase, site), seen in observer.distributions().items()]
    [('train', 'fc', [2, 2])]
    """

    def __init__(self, sites: Sites, samples: float, seed: int, sink: Sink, rank: int = 0) -> None:
        self.sites: dict[str, Site] = {}
        """Those seen so far, by name, in the order in which they came."""
        self.filled: set[str] = set()
        """Those of them that got a row at least once."""
        self.failed: dict[str, str] = {}
        """Sites that could not be taken in, with the reason: they are left alone from then on."""
        self.other: dict[str, str] = {}
        """Sites whose tensors hold no activations, with what they held."""
        self._chosen = sites
        self._seed = seed
        self._rank = rank
        self._sink = sink
        self._transfer = Transfer()
        self._workspace = Workspace()
        self._axes: dict[tuple[str, int], int] = {}
        self._units: dict[str, dict[object, Tensor]] = {}
        self._open: dict[tuple[str, str], Accumulator] = {}
        self._begun = False
        self._ticking: dict[bool, dict[Accumulator, None]] = {True: {}, False: {}}
        self._sampler = Sampler(samples, np.random.default_rng([seed, 1, rank]))
        self._eval_sampler = Sampler(max(samples, FORWARD_SAMPLES), np.random.default_rng([seed, 3, rank]))
        self._examples = ExampleSampler(seed)
        self.restart_probe()

    def restart_probe(self, forwards: int = 0) -> None:
        """Make the next probe draw the same places as the one before.

        Of a probe of so many `forwards` the activations of some examples are kept too, the same in every window.
        """
        self._examples.restart(forwards)
        samples = max(self._sampler.samples, FORWARD_SAMPLES)
        self._probe_sampler = Sampler(samples, np.random.default_rng([self._seed, 2]))

    def observe(
        self,
        site: str,
        module: nn.Module,
        tensor: Tensor,
        phase: str,
        *,
        stepping: bool,
        padding: Padding | None = None,
    ) -> None:
        """Take in a tensor that a module returned; with `stepping` it belongs to a training step, which has its rows.

        Never raises: it runs within the user's forward. A site that cannot be taken in is in `failed` afterwards.
        """
        if site in self.failed:
            return
        self._begun |= stepping
        try:
            ordinary = not is_seen() and is_plain(tensor)
            with nullcontext() if ordinary else unseen():
                plain, leading = (tensor.detach(), 0) if ordinary else dense(tensor)
                axis = self._unit_axis(site, module, tensor, plain, leading)
                if plain is not None and axis is not None:
                    self._accumulate(self.sites[site], plain, axis, phase, stepping, padding)
        except Exception as error:  # noqa: BLE001  An error in here must never reach the training.
            self.fail(site, error)

    def again(self, name: str, tensor: Tensor, forward: Any) -> Place | None:
        """Returns where the next tensor like this one of a site goes, which was just taken, in a forward like this one.

        `forward` has a `phase`, and is `stepping` or not, as in `observe`.

        None where each has to be looked at: where it is on another device, or of more units than are recorded.
        """
        phase, stepping = forward.phase, forward.stepping
        site, accumulator = self.sites.get(name), self._open.get((phase, name))
        if site is None or accumulator is None or site.kept is not None or is_probe(phase) or not is_plain(tensor):
            return None
        activations = by_unit(tensor.detach(), self._axes[name, tensor.ndim])
        layout = layout_of(activations)
        there = layout is not None and activations.numel() and activations.data_ptr() == tensor.data_ptr()
        if layout is None or not there or activations.dtype is not torch.float32:
            return None
        return Place(
            *(self._open, (phase, name), accumulator, self.failed, self._transfer.queue),
            *(self if stepping else None, self._ticking[stepping]),
            *(self._sampler if stepping else self._sampler_of(phase), layout),
        )

    def fail(self, site: str, error: Exception) -> None:
        """Leave this site alone from now on, with a notice. Never raises."""
        if site in self.failed:
            return
        self.failed[site] = str(error) if isinstance(error, RecordingError) else f"{type(error).__name__}: {error}"
        notice(f"icshift stopped recording {site}: {error}")

    def tick(self, step: int, *, stepping: bool) -> None:
        """Close the step, or (not `stepping`) the forward: what was observed of its kind since the last tick."""
        ticking = self._ticking[stepping]
        if self._transfer.queue:
            for accumulator in ticking:
                self._transfer.send([], partial(_tick, accumulator, step))
            self._transfer.deliver(wait=False)
        else:
            for accumulator in ticking:
                if not accumulator.waiting.tick(step):
                    accumulator.tick(step)
        ticking.clear()
        self._begun &= not stepping
        for sampler in (self._sampler, self._eval_sampler, self._probe_sampler):
            if sampler.drew:
                sampler.renew()
        self._examples.next_forward()

    def pass_step(self) -> None:
        """Close a step of which nothing was observed."""
        self._begun = False

    def begin_step(self) -> None:
        """A step has begun of which nothing is observed."""
        self._begun = True

    @property
    def step_begun(self) -> bool:
        """Whether a forward of the current training step was seen, even of an empty batch, since the last tick."""
        return self._begun

    @property
    def holding(self) -> bool:
        """Whether a step or a forward of the open window was closed that showed anything."""
        self._transfer.deliver(wait=True)
        return any(accumulator.holding for accumulator in self._open.values())

    @property
    def holding_part(self) -> bool:
        """Whether a step or a forward of the open part of the window was closed that showed anything."""
        self._transfer.deliver(wait=True)
        return any(accumulator.ticks for accumulator in self._open.values())

    def signs(self) -> tuple[Any, ...]:
        """Returns what changes where the tables of sites do."""
        return len(self.sites), len(self.filled), tuple(self.failed.items()), tuple(self.other.items())

    def units_held(self) -> int:
        """Returns how many units the open window holds, those of every phase."""
        return sum(accumulator.units for accumulator in self._open.values() if accumulator.holding)

    def distributions(self) -> Distributions:
        """Returns what the open window holds so far, by phase and site, both in the order in which they first came.

        Where it has parts, the open one ends with it.
        """
        return self._of_all(lambda accumulator: accumulator.distribution() if accumulator.holding else None)

    def part(self) -> Distributions:
        """Returns the same of the open part of the open window."""
        return self._of_all(lambda accumulator: accumulator.part() if accumulator.ticks else None)

    def _of_all(self, of: Callable[[Accumulator], Distribution | None]) -> Distributions:
        self._transfer.deliver(wait=True)
        phases = list(dict.fromkeys(phase for phase, _ in self._open))
        return {
            (phase, site): distribution
            for phase in phases
            for name, site in self.sites.items()
            if (accumulator := self._open.get((phase, name))) is not None
            and (distribution := of(accumulator)) is not None
        }

    def next_part(self) -> None:
        """Begin the next part of the open window."""
        for (phase, name), accumulator in self._open.items():
            accumulator.next_part(self._random(phase, name))

    def sampling(self) -> list[dict[str, Any]]:
        """Returns what all draws of the windows to come follow from, as data."""
        return [self._sampler.state, self._eval_sampler.state]

    def draw_on(self, sampling: list[dict[str, Any]] | None) -> None:
        """Draw from now on as the observer would have drawn whose `sampling` this is, if any."""
        if sampling:
            self._sampler.state, self._eval_sampler.state = sampling

    def forget(self, site: str) -> None:
        """Forget all that is known of a site."""
        for key in [key for key in self._open if key[1] == site]:
            del self._open[key]
        for ticking in self._ticking.values():
            for accumulator in ticking.keys() - set(self._open.values()):
                del ticking[accumulator]
        for table in (self.sites, self.failed, self.other, self._units):
            table.pop(site, None)
        self._axes = {key: axis for key, axis in self._axes.items() if key[0] != site}
        self.filled.discard(site)

    def new_window(self) -> None:
        """Forget what the open window holds; the memory that it took is used again."""
        for (phase, name), accumulator in self._open.items():
            accumulator.restart(self._random(phase, name))
        self._none_ticks()
        self._begun = False

    def close(self) -> None:
        """Free the memory that distributions took; sites, failed ones and others stay known."""
        self._open.clear()
        self._none_ticks()
        self._workspace = Workspace()

    def _none_ticks(self) -> None:
        for ticking in self._ticking.values():
            ticking.clear()

    def _unit_axis(
        self, site: str, module: nn.Module, tensor: Tensor, plain: Tensor | None, leading: int
    ) -> int | None:
        """Returns the unit axis of `plain`, the activations of `tensor` with `leading` axes before its own.

        None where there are no activations: what there is instead is noted in `other`. A site that comes for the first
        time is added to `sites`. Raises `RecordingError` where a site's units are not those that it had.
        """
        if not tensor.ndim or not (tensor.is_floating_point() or tensor.is_quantized):
            self.other[site] = f"numbers of {tensor.dtype}" if tensor.ndim else "a single number"
            return None
        if plain is None:
            self.other[site] = "no values: on the meta device, or fake"
            return None
        ndim = plain.ndim - leading
        axis = self._axes.get((site, ndim))
        if axis is None:
            # A site may be called on batches and on single examples: each has its units on an axis of its own.
            described = describe(site, module, plain, leading, self._bounded(), self._seed)
            refuse_split(module, tensor, described.axis)
            self.sites.setdefault(site, described)
            axis = self._axes[site, ndim] = described.axis
        known = self.sites[site]
        if plain.shape[axis + leading] != known.units:
            shape = list(plain.shape[max(leading, 0) :])
            raise RecordingError(f"{site} had {known.units} units on axis {known.axis}, now its shape is {shape}")
        return axis + leading

    def _bounded(self) -> Sites:
        """What was chosen, with as many units a site as there is room for: few once that is used up."""
        left = self._chosen.max_total_units - sum(len(kept_units(site)) for site in self.sites.values())
        return replace(self._chosen, max_units=min(self._chosen.max_units, max(left, _FEWEST_UNITS)))

    def _accumulate(
        self, site: Site, plain: Tensor, axis: int, phase: str, stepping: bool, padding: Padding | None
    ) -> None:
        """Give rows of the activations, and the moments of all of them, to the accumulator of this phase and site."""
        name = site.name
        if 0 in plain.shape:
            return
        kept = None if padding is None else padding.without(plain, axis)
        activations = by_unit(plain, axis) if kept is None else kept
        if not activations.shape[0]:
            return
        if site.kept is not None:
            activations = self._recorded_units(site, activations)
        self.filled.add(name)
        sampler = self._sampler if stepping else self._sampler_of(phase)
        if plain.device.type == "cpu" and self._transfer.idle:
            self._take(site, activations, phase, stepping, sampler)
            return
        drawn = sampler.rows(activations)
        table = None
        if drawn.numel() != activations.numel():
            table = exact.moments(activations[None], self._workspace)
        rows = _readable(drawn)
        accumulator = self._open.get((phase, name))
        if accumulator is None:
            accumulator = self._open[phase, name] = self._accumulator(phase, site, rows, stepping)
        self._ticking[stepping][accumulator] = None
        probed = not stepping and is_probe(phase)
        if probed and (examples := self._examples.rows(activations, phase)) is not None:
            self._once_on_host(partial(_keep_examples, accumulator), [_readable(examples)])
        self._once_on_host(partial(_observe, accumulator), [rows] if table is None else [rows, table])

    def _take(self, site: Site, activations: Tensor, phase: str, stepping: bool, sampler: Sampler) -> None:
        """Give activations that are on the host, of all units, to the accumulator of this phase and site."""
        values = activations if activations.dtype in _OF_NUMPY else activations.float()
        accumulator = self._open.get((phase, site.name))
        if accumulator is None:
            accumulator = self._open[phase, site.name] = self._accumulator(phase, site, values, stepping)
        self._ticking[stepping][accumulator] = None
        if not stepping and is_probe(phase) and (examples := self._examples.rows(values, phase)) is not None:
            accumulator.keep(examples)
        accumulator.take(values, sampler)

    def _recorded_units(self, site: Site, activations: Tensor) -> Tensor:
        """Returns the recorded units of activations [rows, units(, positions)], where these are not all."""
        there = self._units.setdefault(site.name, {})
        place = activations.device, stream_of(activations.device)
        if place not in there:
            there[place] = torch.from_numpy(kept_units(site)).to(activations.device)
        return activations.index_select(1, there[place])

    def _once_on_host(self, then: Callable[[list[Tensor]], None], tensors: list[Tensor]) -> None:
        """Call `then` with the tensors once they are on the host: at once if they and all before them are there."""
        if tensors[0].device.type == "cpu" and self._transfer.idle:
            then(tensors)
        else:
            self._transfer.send(tensors, then)

    def _sampler_of(self, phase: str) -> Sampler:
        return self._probe_sampler if is_probe(phase) else self._eval_sampler

    def _random(self, phase: str, site: str) -> np.random.Generator:
        """The same in every window, so that a probe of a network that has not changed gives the same sketch."""
        return np.random.default_rng([self._seed, crc32(phase.encode()), crc32(site.encode()), self._rank])

    def _accumulator(self, phase: str, site: Site, rows: Tensor, stepping: bool) -> Accumulator:
        left = _ALL_BLOCKS - sum(accumulator.block_values for accumulator in self._open.values())
        return Accumulator(
            units=rows.shape[1],
            samples=(self._sampler if stepping else self._sampler_of(phase)).samples,
            dtype=np.float64 if rows.dtype == torch.float64 else np.float32,
            random=self._random(phase, site.name),
            workspace=self._workspace,
            blocks=not is_probe(phase),
            sink=(lambda rows: self._sink(phase, site, rows)) if stepping else None,
            block_values=min(BLOCK_VALUES, max(left, 0) // _SHARES),
            first_block=1 - 0.618034 * len(self._open) % 1,  # The golden ratio spreads any number of them evenly.
        )


def _readable(rows: Tensor) -> Tensor:
    """Returns rows in a precision that NumPy has."""
    return rows if rows.dtype in _OF_NUMPY else rows.float()


def _tick(accumulator: Accumulator, step: int, _: list[Tensor]) -> None:
    accumulator.tick(step)


def _observe(accumulator: Accumulator, arrived: list[Tensor]) -> None:
    accumulator.observe(arrived[0], arrived[1] if len(arrived) > 1 else None)


def _keep_examples(accumulator: Accumulator, arrived: list[Tensor]) -> None:
    accumulator.keep(arrived[0])
