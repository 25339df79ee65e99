"""Options that several commands share: the same name, the same meaning and the same help everywhere."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

TABLES = (".csv", ".json", ".parquet")
"""Suffixes of files of data."""

PICTURES = (".html", ".svg", ".png", ".pdf")
"""Suffixes of files to look at."""

FILES = (*TABLES, *PICTURES, ".md", ".xml")
"""Suffixes of files that some command writes: no directory is called so by intent."""


def samples(text: str) -> int | Literal["all"]:
    """Returns the value of `--samples`. Raises `typer.BadParameter` for anything but a number from 2, or all."""
    if text == "all":
        return "all"
    if not text.isascii() or not text.isdigit() or int(text) < 2:
        raise typer.BadParameter(f"expected a number from 2, or all; got {text!r}")
    return int(text)


def overhead(text: str) -> float:
    """Returns the value of `--overhead`, a share. Raises `typer.BadParameter` for anything but 0.03, or 3%, or such.

    >>> overhead("3%"), overhead("0.03")
    (0.03, 0.03)
    """
    number = text.strip().removesuffix("%")
    try:
        found = float(number) / (100 if number != text.strip() else 1)
    except ValueError:
        found = 0.0
    if not 0 < found < 1:
        raise typer.BadParameter(f"expected a share above 0 % and below 100 %, as 3% or 0.03; got {text!r}")
    return found


def directory(text: str | Path) -> Path:
    """The value of an option that names a directory.

    Raises `typer.BadParameter` for an empty one, which would be the current directory and not what was meant, and for
    a name that is a file's wherever else `-o` writes.
    """
    if not str(text).strip():
        raise typer.BadParameter(
            "it is empty, as a shell's variable that is not set: name a directory, or . for this one"
        )
    path = Path(text)
    if path.suffix.lower() in FILES and not path.is_dir():
        raise typer.BadParameter(f"{path} is the name of a file, and a directory is written: take {path.stem}")
    return path


def selector(text: str) -> str:
    """The value of `--site` of modules. Raises `typer.BadParameter` for an empty one, which matches nothing."""
    if not text.strip():
        raise typer.BadParameter("it is empty: give the name or a glob of modules, or all")
    return text


# Annotated as Any, since typer takes no union of types; what `samples` returns is int | Literal["all"].
Samples = Annotated[
    Any,
    typer.Option(
        "--samples", metavar="N", parser=samples, help="Values a unit and step that quantiles are made from, or all."
    ),
]
SamplesOfForward = Annotated[
    Any,
    typer.Option(
        "--samples", metavar="N", parser=samples, help="Values a unit and forward that quantiles are made from, or all."
    ),
]

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Directory that a recording made.", show_default=False)]
Metric = Annotated[
    str, typer.Option("--metric", help="Name of a metric, as w1_sd, w1, ks; `icshift info --metrics` lists them.")
]
Reference = Annotated[
    str,
    typer.Option(
        "--reference",
        help="Compare with: previous, first, a window's name, phase:NAME, run:PATH (the same window there) or "
        "paired-run:PATH (units by number, whatever the weights began as).",
    ),
]
Window = Annotated[
    str,
    typer.Option("--window", metavar="WINDOW", help="Name or number of a window, last, or worst: where most moved."),
]
Windows = Annotated[
    str,
    typer.Option(
        "--window", metavar="WINDOW", help="Name or number of a window, last, worst: where most moved, or all."
    ),
]
Phase = Annotated[
    str | None,
    typer.Option("--phase", help="train, eval, no-grad, probe or a label; train by default.", show_default=False),
]
SiteGlobs = Annotated[
    list[str] | None, typer.Option("--site", help="Name or glob of sites; may be repeated.", show_default=False)
]
Modules = Annotated[
    list[str] | None,
    typer.Option(
        "--site",
        "--sites",
        metavar="GLOB",
        parser=selector,
        help="Name or glob of modules to watch, or all; may be repeated.",
        show_default=False,
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option("--junit", metavar="FILE", help="Write the checks as JUnit XML, or - for stdout.", show_default=False),
]
Top = Annotated[int, typer.Option("--top", min=1, help="Show at most so many rows.")]
AllRows = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Write all rows: .csv, .json or .parquet, or - for CSV on stdout.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no hints.")]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="Plain text; the environment variable NO_COLOR does the same.")
]
