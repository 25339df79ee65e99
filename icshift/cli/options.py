"""Options that several commands share: the same name, the same meaning and the same help everywhere."""

from pathlib import Path
from typing import Annotated

import typer

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Directory that a recording made.", show_default=False)]
Metric = Annotated[
    str, typer.Option("--metric", help="Name of a metric, as w1_sd, w1, ks; `icshift info --metrics` lists them.")
]
Reference = Annotated[
    str,
    typer.Option(
        "--reference",
        help="Compare with: previous, first, a window's name, phase:NAME (same window) or run:PATH (same window).",
    ),
]
Phase = Annotated[
    str | None, typer.Option("--phase", help="train, eval, probe or a label; train by default.", show_default=False)
]
SiteGlobs = Annotated[
    list[str] | None, typer.Option("--site", help="Name or glob of sites; may be repeated.", show_default=False)
]
Top = Annotated[int, typer.Option("--top", min=1, help="Show at most so many rows.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace what is there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar and no hints.")]
NoColor = Annotated[
    bool, typer.Option("--no-color", help="Plain text; the environment variable NO_COLOR does the same.")
]
