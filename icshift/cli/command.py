"""A command whose options are given once, and which knows what options were called before."""

from __future__ import annotations

from collections import Counter
from typing import Any

import typer
from typer.core import TyperCommand, TyperOption

RENAMED = {
    ("shift", "--fail-above"): "--fail-on 'drift > X', as icshift check has it",
    ("shift", "--csv"): "-o FILE.csv, or -o - for stdout",
    ("landscape", "--chart"): "-o FILE.html, .svg, .png or .pdf, beside -o FILE.csv where both are wanted",
}
"""What to give in place of an option that is gone, by command and option."""


class Command(TyperCommand):
    """A command that takes no option twice which holds one value: all but the last would be dropped in silence."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments; raises `typer.BadParameter` for an option that is gone or given twice."""
        for name in (argument.partition("=")[0] for argument in args):
            if (str(self.name), name) in RENAMED:
                raise typer.BadParameter(f"{name} is gone: give {RENAMED[str(self.name), name]}")
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(order).items():
            if times > 1 and isinstance(option, TyperOption) and not (option.multiple or option.is_flag):
                raise typer.BadParameter(f"{' or '.join(option.opts)} is given {times} times, and takes one value")
        return super().parse_args(ctx, args)
