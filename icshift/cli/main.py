"""The command `icshift`.

Commands import what they need when they run, so that `icshift --help` imports neither torch nor pandas.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from icshift._version import __version__
from icshift.cli.analyze import analyze
from icshift.cli.check import check
from icshift.cli.compare import WithMany, compare
from icshift.cli.demo import demo
from icshift.cli.export import export
from icshift.cli.info import info
from icshift.cli.landscape import landscape
from icshift.cli.onset import onset
from icshift.cli.path import path
from icshift.cli.report import report
from icshift.cli.run import run
from icshift.cli.selfcheck import selfcheck
from icshift.cli.shift import shift
from icshift.cli.units import units
from icshift.cli.watch import watch
from icshift.errors import IcshiftError

app = typer.Typer(
    name="icshift",
    help="Measure internal covariate shift: how far the activations of every hidden unit drift while a network trains.",
    epilog="Record a script with `icshift run train.py`, your own loop with icshift.Recorder; or try `icshift demo`.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(context_settings={"allow_interspersed_args": False})(run)  # What follows SCRIPT is the script's own.
_SPECIAL: dict[Any, dict[str, Any]] = {
    report: {"context_settings": {"allow_extra_args": True}},  # It says itself what to do with two runs.
    compare: {"cls": WithMany},
}
for command in (
    demo,
    info,
    report,
    onset,
    watch,
    units,
    path,
    compare,
    export,
    check,
    analyze,
    shift,
    landscape,
    selfcheck,
):
    app.command(**_SPECIAL.get(command, {}))(command)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"icshift {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 (done), 1 (a threshold was exceeded), 2 (a mistake) or 130 (interrupted).

    A mistake is one line on stderr.
    """
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    try:
        return app(arguments or ["--help"], prog_name="icshift", standalone_mode=False) or 0
    except IcshiftError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        return _fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted")
        return 130
    except BrokenPipeError:
        # The reader of a pipe has seen enough; the interpreter must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A path that no file can have, a full disk: whoever typed the command can change that.
        return _fail(f"{error.filename or 'a file'}: {error.strerror or error}")


def _fail(message: str) -> int:
    print(f"icshift: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
