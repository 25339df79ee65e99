"""The commands: what each does in a few words, and the command itself, imported once it is asked for.

So the help of `icshift` waits for none of them, and a command for no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from icshift.cli.command import Command
from icshift.cli.values import convert_plainly

DOES = {
    "run": "Run a training script and record it.",
    "demo": "Train and record two small networks over several seeds, then compare them.",
    "info": "Show what a run holds.",
    "ls": "List the runs below a directory: model, windows, in what way each ended, and the largest drift.",
    "report": "Show the drift of every site.",
    "onset": "Show which site left the band of its own past first, and at which step.",
    "watch": "Watch a recording in progress, from another shell.",
    "units": "Show the most drifting units of a site.",
    "path": "Show how far every site went from window to window, against how far it came.",
    "compare": "Compare two groups of runs, as of two methods.",
    "export": "Write the drift of every unit to a file, or what was measured with gradients.",
    "merge": "Merge the windows of a distributed training once and for all.",
    "check": "Fail if a run meets a condition, for CI.",
    "analyze": "Replay one set of inputs through saved models.",
    "shift": "Compare what a model shows of two data sets.",
    "drift": "Show how far activations that you dumped yourself drifted: two .npy, .npz or .parquet files.",
    "landscape": "Measure the loss around saved models.",
    "selfcheck": "Reproduce what the literature found about batch norm and drift, and so check icshift on this "
    "machine.",
}
"""The first sentence of the help of each command, in the order in which they are listed."""

WITH_MODELS = ("run", "demo", "analyze", "shift", "landscape", "selfcheck")
"""Commands in whose process models run, and somebody's own code: how Python is set up there is not ours to change."""

KINDS = {"run": "WithScript", "report": "WithOthers", "compare": "WithMany"}
"""The class, beside the function in its file, of each command that reads its arguments in a way of its own."""


class _Imported(Mapping[str, typer.core.TyperCommand]):
    """The commands by name; what is asked for is imported, and made of its function."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            if name not in DOES:
                raise KeyError(name)
            file = import_module(f"icshift.cli.{name}")
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            kind = getattr(file, KINDS[name]) if name in KINDS else Command
            alone.command(name, cls=kind)(getattr(file, name))
            self._made[name] = typer.main.get_command(alone)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(DOES)

    def __len__(self) -> int:
        return len(DOES)


class Commands(TyperGroup):
    """All commands, of which only the one that is called is imported."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"commands": _Imported()})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what comes before the name of a command."""
        convert_plainly(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of all commands."""
        del ctx
        return list(DOES)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write what commands there are."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(DOES.items()))
