"""A command whose options are given once and described in plain words, and which knows what they were called before."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

from icshift.cli.values import convert_plainly

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
        convert_plainly(self.get_params(ctx))
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for option, times in Counter(order).items():
            if times > 1 and isinstance(option, TyperOption) and not (option.multiple or option.is_flag):
                raise typer.BadParameter(f"{' or '.join(option.opts)} is given {times} times, and takes one value")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write what arguments and options there are: what to give, and not of which type it will be."""
        for param in self.params:
            if isinstance(param, TyperOption) and not param.is_flag:
                param.metavar = param.metavar or _what(param)
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if (record := param.get_help_record(ctx)) is not None:
                rows["Arguments" if isinstance(param, TyperArgument) else "Options"].append(_plain(*record))
        for head, of_head in rows.items():
            if of_head:
                with formatter.section(head):
                    formatter.write_dl(of_head)


_WHAT = {int: "N", float: "X", Path: "PATH", str: "NAME"}


def _what(option: TyperOption) -> str:
    """Returns what stands for the value of an option in its help: its choices, or a word for its kind."""
    described = option.type_descriptor
    if described.choices is not None:
        return "|".join(str(getattr(choice, "value", choice)) for choice in described.choices)
    kind: Any = described.annotation
    kind = get_args(kind)[0] if described.is_list else kind
    return _WHAT.get(kind, "VALUE")


def _plain(name: str, said: str) -> tuple[str, str]:
    """Returns a line of help in words: an argument without its type, a range without a formula."""
    said = re.sub(r"(\S+)<=x<=([^\s;\]]+)", r"\1 to \2", said)
    return re.sub(r" <.*>$", "", name), re.sub(r"x>=([^\s;\]]+)", r"at least \1", said)


class Interrupted(Exception):  # noqa: N818  It is no error.
    """Ctrl-C ended the script of `icshift run`, and all is written and told: the process ends as the script would."""
