"""The command `icshift`.

A command is imported when it is called (`commands.py`), and imports what it needs when it runs: `icshift --help`
imports no command, and neither torch nor pandas.
"""

from __future__ import annotations

import atexit
import gc
import sys
from contextlib import suppress
from typing import Annotated

import typer

from icshift._version import __version__
from icshift.cli import output
from icshift.cli.command import Interrupted
from icshift.cli.commands import WITH_MODELS, Commands
from icshift.errors import IcshiftError

app = typer.Typer(
    name="icshift",
    cls=Commands,
    help="Measure internal covariate shift: how far the activations of every hidden unit drift while a network trains.",
    epilog="Record a script with `icshift run train.py`, your own loop with icshift.Recorder; or try `icshift demo`.",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from icshift.kernel_choice import in_use

        typer.echo(f"icshift {__version__}, kernel {in_use()}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; exits with 0 (done), 1 (a threshold was exceeded), 2 (a mistake) or 130 (interrupted).

    A mistake is one line on stderr. `icshift run` ends as its script does.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] not in [[name] for name in WITH_MODELS]:
        _collect_seldom()
    try:
        code = _run(given)
    except Interrupted:
        from icshift.launch.script import end_interrupted

        end_interrupted()
    sys.exit(code)


def _collect_seldom() -> None:
    """Have Python's collector look for cycles less often in this process, and not at its end.

    What is imported, a few hundred thousand objects, stays; to go through all of it again and again takes a sixth of
    the report of a small run.
    """
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)


def _run(arguments: list[str]) -> int:
    if arguments[:1] != ["run"]:  # What is printed there is the script's.
        output.readable(sys.stdout)
    stdout = sys.stdout
    try:
        code = app(arguments or ["--help"], prog_name="icshift", standalone_mode=False) or 0
        if sys.stdout is not None:
            sys.stdout.flush()
    except IcshiftError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        return _fail(error.format_message() if hasattr(error, "format_message") else str(error))
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted")
        return 130
    except SystemExit:
        # The reader of help is gone: then typer exits with 1, and puts a stream of its own in place of stdout.
        if type(sys.stdout).__name__ != "PacifyFlushWrapper":
            raise
        output.print_no_more(stdout)
        return 0
    except OSError as error:
        # A path that no file can have, a full disk: whoever typed the command can change that.
        return _fail(f"{error.filename or 'output'}: {error.strerror or error}")
    return int(code)


def _fail(message: str) -> int:
    from icshift.reports.harmless import harmless

    if sys.stderr is not None:
        output.readable(sys.stderr)
        with suppress(OSError):  # A full disk; nobody is left to be told.
            print(f"icshift: {harmless(' '.join(message.split()))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
