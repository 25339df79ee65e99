"""The list of commands: it says of each what its own help says, and a command is imported when it is called."""

import subprocess
import sys

import typer

from icshift.cli.commands import DOES
from icshift.cli.main import app

IMPORTED = """
import sys
from icshift.cli.main import _run
_run(sys.argv[1:])
print("imported:", *sorted(name for name in sys.modules if name.startswith("icshift.cli.")))
"""


def imported(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, *map(str, arguments)], capture_output=True, text=True, check=True
    )
    return {name.removeprefix("icshift.cli.") for name in done.stdout.split("imported: ")[1].split()}


def test_a_command_is_listed_with_the_first_sentence_of_its_own_help():
    commands = typer.main.get_command(app).commands
    said = {name: " ".join(command.help.split("\n\n")[0].split()) for name, command in commands.items()}
    assert said == DOES


def test_all_commands_are_listed_in_order(printed):
    (_, listed) = printed("--help").split("Commands:\n")
    rows = listed.split("\n\n")[0].splitlines()
    assert [row.split()[0] for row in rows if row[2] != " "] == list(DOES)


def test_help_imports_no_command_and_a_command_imports_no_other(tmp_path):
    assert imported("--help") & set(DOES) == set()
    assert imported("ls", tmp_path) & set(DOES) == {"ls"}


def test_a_command_that_is_not_there_is_told_with_those_like_it(refused):
    assert refused("inof") == "icshift: No such command 'inof'. Did you mean 'info'?\n"
