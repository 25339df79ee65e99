"""How a recording ended, and which steps it missed: what every report of a run says of that, in the same words.

A recording *finishes* where its training comes to its end, also by an exception or Ctrl-C, which it then tells. It
*stops* where it can go on no more while the training does. Where a fault passed, it has a *gap*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FINISHED = "finished"
"""The state of a run that came to its end with its training, and lacks nothing."""

NOT_CLOSED = "the end of its process, before close()"
"""What ended a recording that nobody closed, where no exception is known to have ended its process: whether the
training had come to its end, or the script left it as by `sys.exit(1)`, is not known then."""

_LISTED = 3
"""Gaps that are told one by one, the first ones; the manifest has all."""


class Ending:
    """What a manifest says of the end of its recording.

    >>> Ending({"finished": True}).heading, Ending({"finished": False}).heading
    ('', ' · unfinished')
    >>> Ending({"finished": False, "stopped": {"reason": "disk full", "step": 7, "time": ""}}).heading
    ' · stopped at step 7: disk full'
    >>> Ending({"finished": True}).state, Ending({"finished": False}).state
    ('finished', 'unfinished')
    >>> gap = {"first_step": 7, "last_step": 9, "reason": "disk full", "time": ""}
    >>> Ending({"finished": True, "gaps": [gap]}).sentences
    ('Steps 7 to 9 were not recorded: disk full.',)
    """

    def __init__(self, manifest: Mapping[str, Any], missing: Sequence[str] = ()) -> None:
        self.finished = bool(manifest.get("finished"))
        """Whether the recording lasted as long as the training, in every process."""
        self.stopped: Mapping[str, Any] | None = manifest.get("stopped")
        """Why it stopped while the training went on, at which step and when (`reason`, `step`, `time`); else None."""
        self.interrupted: Mapping[str, Any] | None = manifest.get("interrupted")
        """What ended the training before its end (`by`), at which `step` and `time`; else None."""
        self.gaps: tuple[Mapping[str, Any], ...] = tuple(manifest.get("gaps") or ())
        """Steps that were not recorded: `first_step` to `last_step`, and the `reason`."""

        self.cut = tuple(one["cut"] for one in manifest.get("resumed") or () if one.get("cut"))
        """Windows that ended only since the training was interrupted, and that stayed: `window`, after which `step`."""
        self.missing = tuple(missing)
        """Sentences about files that are gone."""

    @property
    def heading(self) -> str:
        """What a heading says after all else; empty where the training came to its end and nothing is missing."""
        states = [self._state()]
        states += [f"{self.missed:,} step{'' if self.missed == 1 else 's'} not recorded"] if self.gaps else []
        states += ["files are missing"] if self.missing else []
        return "".join(f" · {state}" for state in states if state)

    @property
    def state(self) -> str:
        """The same where there is no heading: "finished" if there is nothing to tell."""
        return self.heading.removeprefix(" · ") or FINISHED

    @property
    def data(self) -> dict[str, Any]:
        """The same as data; empty where there is nothing to tell."""
        if not self.heading:
            return {}
        told = {"stopped": self.stopped, "interrupted": self.interrupted, "gaps": list(self.gaps)}
        return {"finished": self.finished, **told, "missing": list(self.missing)}

    @property
    def missed(self) -> int:
        """How many steps the gaps have."""
        return sum(gap["last_step"] - gap["first_step"] + 1 for gap in self.gaps)

    @property
    def complete(self) -> bool:
        """Whether the recording finished with the training, that came to its end, and nothing of it is missing."""
        return self.finished and self.interrupted is None and not self.gaps and not self.missing

    @property
    def sentences(self) -> tuple[str, ...]:
        """What is missing, each in a sentence of its own; none where nothing is."""
        told = []
        if self.stopped is not None:
            told.append(
                f"Recording stopped at step {self.stopped['step']:,} ({self.stopped['reason']}): "
                "what the training did after that is not known."
            )
        elif not self.finished:
            told.append("The recording is not finished: it still goes on, or its process was killed.")
        elif self.interrupted is not None:
            told.append(_interrupted(self.interrupted["by"], self.interrupted["step"]))
        return (*told, *self.lacking)

    @property
    def lacking(self) -> tuple[str, ...]:
        """A sentence for each gap, for each window that was cut by an interruption, and for files that are gone."""
        told = []
        for gap in self.gaps[:_LISTED]:
            first, last = gap["first_step"], gap["last_step"]
            which = f"Step {first:,} was" if first == last else f"Steps {first:,} to {last:,} were"
            told.append(f"{which} not recorded: {gap['reason']}.")
        if len(self.gaps) > _LISTED:
            told.append(f"{len(self.gaps) - _LISTED} more gaps of this kind are in run.json.")
        told += [
            f"Window {cut['window']} ended after {cut['step']:,} steps, where the training was interrupted: what was "
            "under way went on as the next window."
            for cut in self.cut
        ]
        return (*told, *self.missing)

    def _state(self) -> str:
        if self.stopped is not None:
            return f"stopped at step {self.stopped['step']:,}: {self.stopped['reason']}"
        if not self.finished:
            return "unfinished"
        if self.interrupted is None:
            return ""
        by = self.interrupted["by"]
        return "never closed" if by == NOT_CLOSED else f"ended by {by}"


def _interrupted(by: str, step: int) -> str:
    steps = f"{step:,} step{'' if step == 1 else 's'}"
    if by == NOT_CLOSED:
        return (
            f"The process ended before the recorder was closed, after {steps}: whether the training had come to its "
            "end is not known. The script should call close(), or record in a with block."
        )
    return f"The training was ended by {by} after {steps}."
