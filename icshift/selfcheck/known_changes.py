"""Checks on a recorded network that stands still, and then changes in ways that are known: what reports say of it.

Nothing trains here. The network gets fresh inputs at every step, and parameters are changed by hand between windows, so
that every drift is known: none, that of one site's units, and that of a path there and back.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import nn

from icshift.analysis.drift import movements
from icshift.api import Run
from icshift.api import open as open_run
from icshift.noise.movement import FALSE_ALARMS, Movement
from icshift.record.probe import Probe
from icshift.record.recorder import Recorder
from icshift.selfcheck.check import Check, Compared, Finding, Setting, figure, power, worst_of

INPUTS, UNITS, BATCH, STEPS = 8, 16, 16, 24

REPORTS = {True: 20, False: 60}
"""Reports on a network that stands still, by whether it is quick; each of two windows of its own."""

RARE = 1e-5
"""Probability with which so many false alarms come as are not allowed, if each has that of `FALSE_ALARMS`."""

SHIFTED = np.arange(UNITS) < 4
"""Units of fc3 whose bias is shifted, by `SHIFT` of their sd."""

SHIFT = 1.0

WRONG = 3
"""Units of fc3 that were not shifted and may be called all the same: by chance 5 % of those called."""

WAY = (0.5, 0.25, -0.5)
"""Changes of all biases of fc2 from window to window, in activation units."""

RATIO = (0.9, 1.5)
"""Root mean square of drift over floor that a network that stands still may show."""

TROUBLE = {
    "fc1": {"dead": 3, "near_constant": 0, "nonfinite": 0},
    "norm": {"saturated": 5, "near_constant": 0, "nonfinite": 0},
    "fc3": {"near_constant": 2, "nonfinite": 1},
}
"""Units in trouble, by site, after `break_units`."""

ROUNDING = 1e-5
"""Relative error that is allowed of what is recorded in float32."""


def network() -> nn.Sequential:
    """fc1, ReLU, fc2, batch norm, sigmoid, fc3; running averages as torch makes them, which fit nothing."""
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            fc1=nn.Linear(INPUTS, UNITS),
            relu=nn.ReLU(),
            fc2=nn.Linear(UNITS, UNITS),
            norm=nn.BatchNorm1d(UNITS),
            sigmoid=nn.Sigmoid(),
            fc3=nn.Linear(UNITS, UNITS),
        )
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """What was read from the run.

    `still` are the judgements of pairs of windows in which nothing moved; `ratio` is their root mean square of drift
    over floor, over all units of all sites. `probe` is the largest drift of the probe meanwhile, in sd, `jumped` its
    smallest where all biases of fc2 changed. `shift` is the judgement of the window in which units of fc3 were shifted,
    `changed` that of the first in which fc2 was. `path`, `displacement` (both of W1, in activation units) and
    `straightness` (of the shift of the mean) are those of the probe at fc2.
    """

    still: tuple[Movement, ...]
    ratio: float
    probe: float
    jumped: float
    shift: Movement
    changed: Movement
    path: float
    displacement: float
    straightness: float


@cache
def seen(setting: Setting) -> Seen:
    """Records the network while it stands still and changes, and reads what came of it."""
    still = 2 * REPORTS[setting.quick]
    changes = [*[_leave] * still, _shift_units, *map(_change_all, WAY)]
    with TemporaryDirectory() as folder:
        return _read(_recorded(Path(folder) / "run", changes, setting.seed), still)


def health(setting: Setting) -> pd.DataFrame:
    """The report of the probe, by site, of a network with units in trouble."""
    with TemporaryDirectory() as folder:
        run = _recorded(Path(folder) / "run", [_leave, break_units], setting.seed)
        return run.report(phase="probe").set_index("site")


def _recorded(path: Path, changes: Iterable[Callable[[nn.Sequential], None]], seed: int) -> Run:
    """The run of a new network with a window after each of the changes."""
    torch.manual_seed(seed)
    model = network()
    # Nothing has a gradient, so that the steps of the optimizer change nothing.
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(model, path, optimizer=optimizer, probe=Probe(torch.randn(200, INPUTS))) as recorder, torch.no_grad():
        for change in changes:
            with recorder.paused():
                change(model)
            with recorder.phase("train"):  # Without gradients nothing is, by itself.
                for _ in range(STEPS):
                    model(torch.randn(BATCH, INPUTS))
                    optimizer.step()
            recorder.epoch()
    return open_run(path)


def _leave(_: nn.Sequential) -> None:
    pass


def _shift_units(model: nn.Sequential) -> None:
    spread = model(torch.randn(500, INPUTS)).std(0)
    dict(model.named_parameters())["fc3.bias"].add_(SHIFT * spread * torch.from_numpy(SHIFTED))


def _change_all(by: float) -> Callable[[nn.Sequential], None]:
    def change(model: nn.Sequential) -> None:
        dict(model.named_parameters())["fc2.bias"].add_(by)

    return change


def break_units(model: nn.Sequential) -> None:
    """Puts units of every site in the trouble of `TROUBLE`."""
    parameters = dict(model.named_parameters())
    parameters["fc1.bias"][:3] = -1000
    parameters["norm.bias"][:5] = 100
    parameters["fc3.weight"][:2] = 0
    parameters["fc3.bias"][5] = torch.nan


def _read(run: Run, still: int) -> Seen:
    ends = range(2, still + 1, 2)
    judged = movements(run, windows=[*ends, still + 1, still + 2])
    drifts, probe = run.drift(), run.drift(phase="probe")
    drifts, quiet = drifts[drifts["window"].isin(ends)], probe[probe["window"] <= still]
    way, mean = (_of_path(run, name) for name in ("w1", "mean_shift_sd"))
    fc2 = probe[(probe["window"] == still + 2) & (probe["site"] == "fc2")]
    return Seen(
        tuple(judged[end] for end in ends),
        float(np.sqrt(np.mean(np.square(drifts["ratio"])))),
        float(quiet["value"].abs().max(skipna=False)),
        float(fc2["value"].min()),
        judged[still + 1],
        judged[still + 2],
        float(way["path"]),
        float(way["displacement"]),
        float(mean["straightness"]),
    )


def _of_path(run: Run, metric: str) -> pd.Series[float]:
    """The row of fc2 in the paths of the probe."""
    return run.paths(metric, phase="probe", sites="fc2").iloc[0]


def allowed_alarms(reports: int) -> int:
    """The largest number of false alarms that is not `RARE`, by the binomial law."""
    return int(stats.binom.isf(RARE, reports, FALSE_ALARMS))


def judge_still(seen: Seen) -> Finding:
    """Passes where few reports show anything or cannot tell, the floor is the size of drift, and the probe shows 0."""
    reports = len(seen.still)
    alarms = sum(bool(movement.called) for movement in seen.still)
    untold = sum(bool(movement.unknown) or not movement.p for movement in seen.still)
    allowed = allowed_alarms(reports)
    return Finding(
        bool(max(alarms, untold) <= allowed and RATIO[0] <= seen.ratio <= RATIO[1] and seen.probe == 0),
        f"{alarms} of n = {reports} reports show a site as moved, {untold} cannot tell; drift / floor {seen.ratio:.3f} "
        f"(root mean square); largest drift of the probe {figure(seen.probe)} sd",
        _ran(f"{2 * reports} windows in which nothing changes"),
        {"false_alarms": alarms, "untold": untold, "drift_over_floor": seen.ratio, "probe_sd": seen.probe},
    )


def judge_shift(seen: Seen) -> Finding:
    """Passes where the site that was shifted is called, with its units and few others, and the probe shows it too."""
    units = seen.shift.moved.get("fc3", np.zeros(UNITS, bool))
    found, wrong = int(units[SHIFTED].sum()), int(units[~SHIFTED].sum())
    called = "fc3" in seen.shift.called, "fc2" in seen.changed.called
    return Finding(
        all(called) and found == SHIFTED.sum() and wrong <= WRONG and seen.jumped > 0,
        f"fc3 {'called' if called[0] else 'not called'}, {found} of its {SHIFTED.sum()} shifted units and {wrong} of n "
        f"= {(~SHIFTED).sum()} others; fc2 {'called' if called[1] else 'not called'}, in the probe each unit moved at "
        f"least {figure(seen.jumped)} sd",
        _ran(f"fc3: {SHIFTED.sum()} of {UNITS} units shifted by {SHIFT:g} sd; fc2: all by {WAY[0]:g}"),
        {"units_found": found, "units_wrong": wrong, "fc3_called": called[0], "fc2_called": called[1]},
    )


def judge_path(seen: Seen) -> Finding:
    """Passes where path, displacement and straightness are those of the changes that were made."""
    way, end = float(np.abs(WAY).sum()), float(abs(np.sum(WAY)))
    compared = {
        "path": Compared(seen.path, way),
        "displacement": Compared(seen.displacement, end),
        "straightness": Compared(seen.straightness, end / way),
    }
    name, error = worst_of(compared)
    return Finding(
        error <= ROUNDING,
        f"path {figure(seen.path)}, displacement {figure(seen.displacement)} (w1, activation units), straightness "
        f"{figure(seen.straightness)} (change of the mean); largest error {power(error)} ({name})",
        _ran(f"biases of fc2 changed by {', '.join(f'{by:+g}' for by in WAY)}, probe of n = 200"),
        {name: one.found for name, one in compared.items()},
    )


def judge_health(report: pd.DataFrame) -> Finding:
    """Passes where every number of units in trouble is that of those which were put there."""
    expected = {(site, column): number for site, of_site in TROUBLE.items() for column, number in of_site.items()}
    found = {place: report[place[1]].get(place[0], np.nan) for place in expected}
    return Finding(
        all(found[place] == number for place, number in expected.items()),
        "; ".join(f"{site} {found[site, column]:g} {column}" for site, column in expected)
        + f" (n = {UNITS} units a site)",
        _ran("parameters set so that units are dead, saturated, constant, or not finite"),
        {f"{site}_{column}": float(value) for (site, column), value in found.items()},
    )


def _ran(what: str) -> str:
    return f"{STEPS} steps of {BATCH} normal inputs a window, 4 sites of {UNITS} units; {what}"


CHECKS = (
    Check(
        "still",
        "A network that stands still is reported to stand still",
        "Westfall & Young 1993 (reports); the probe by construction",
        f"false alarms and reports that cannot tell at most as many as come by chance ({100 * FALSE_ALARMS:g} % each, "
        f"binomial law to {power(RARE)}: {allowed_alarms(REPORTS[True])} of {REPORTS[True]}, "
        f"{allowed_alarms(REPORTS[False])} of {REPORTS[False]}); drift / floor {RATIO[0]} to {RATIO[1]}; the probe "
        "shows exactly 0, with batch norm",
        lambda setting: judge_still(seen(setting)),
    ),
    Check(
        "shift",
        "A shift that is put in is found, in its site and its units",
        "Benjamini & Hochberg 1995 (units)",
        f"both sites called; all {SHIFTED.sum()} shifted units, and at most {WRONG} others",
        lambda setting: judge_shift(seen(setting)),
    ),
    Check(
        "path",
        "Path and displacement of a way there and back are what was changed",
        "closed form: lengths add up",
        f"path {np.abs(WAY).sum():g}, displacement {np.sum(WAY):g}, straightness "
        f"{np.sum(WAY) / np.abs(WAY).sum():g}, to {power(ROUNDING)}",
        lambda setting: judge_path(seen(setting)),
    ),
    Check(
        "health",
        "Units in trouble are counted, and no others",
        "closed form: parameters that make them so",
        "; ".join(f"{site}: {', '.join(f'{n} {c}' for c, n in of_site.items())}" for site, of_site in TROUBLE.items()),
        lambda setting: judge_health(health(setting)),
    ),
)
