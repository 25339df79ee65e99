"""Whatever goes wrong with a file of somebody else's, as one line that begins with the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path

from icshift.errors import ModelError

_LONGEST = 600


class NoStateDictError(ModelError):
    """A file that is whole and holds no state dict that can be read: it is no model, or only code would make it one."""


class MisfitError(ModelError):
    """A state dict that does not fit a model; `share` of the model's tensors, 0 to 1, would."""

    def __init__(self, message: str, share: float) -> None:
        super().__init__(message)
        self.share = share


@contextmanager
def as_model_error(source: Path | str) -> Iterator[None]:
    """A block within which every error becomes a `ModelError` of one line that begins with the file.

    Warnings of parsers stay quiet. A file that is damaged on purpose makes a parser fail in ways that nobody can list:
    this is the one place that catches all of them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MisfitError as error:
        raise MisfitError(one_line(f"{source}: {error}"), error.share) from error
    except NoStateDictError as error:
        raise NoStateDictError(one_line(f"{source}: {error}")) from error
    except ModelError as error:
        raise ModelError(one_line(f"{source}: {error}")) from error
    except RecursionError as error:
        raise ModelError(one_line(f"{source}: is nested too deeply for a saved model; save it anew")) from error
    except Exception as error:
        raise ModelError(one_line(f"{source}: {_reason(error)}")) from error


def summary_of(error: Exception) -> str:
    """The class of an error and the first line of its message, cut to 160 characters.

    >>> summary_of(KeyError("weight"))
    "KeyError: 'weight'"
    """
    first = one_line(str(error).strip().split("\n", maxsplit=1)[0])
    return f"{type(error).__name__}: {first[:160]}"


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "asks for more memory than there is: damaged, or too large for this machine"
    if isinstance(error, OSError) and error.strerror and error.errno != EINVAL:  # A place before the file's beginning.
        return f"cannot be read: {error.strerror}"
    return f"cannot be read as a saved model: damaged or cut short ({summary_of(error)}); save it anew"


def one_line(text: str) -> str:
    """Text that is safe to print: names out of a file may hold line breaks and escape sequences of the terminal.

    >>> one_line("a\\nb\\x1b[31m")
    'a b [31m'
    """
    printable = "".join(character if character.isprintable() else " " for character in text)
    squeezed = " ".join(printable.split())
    return squeezed if len(squeezed) <= _LONGEST else f"{squeezed[: _LONGEST - 1]}…"


def first_few(names: Iterable[str], most: int = 4) -> str:
    """The first names of many, each cut to 80 characters, and how many more there are.

    >>> first_few(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(name if len(name) <= 80 else f"{name[:79]}…" for name in listed[:most]) + more


def regular(path: Path) -> Path:
    """The path itself; raises `ModelError` where there is no regular file: a named pipe would be read without end."""
    if not path.is_file():
        raise ModelError(f"{path.name} is {'no regular file' if path.exists() else 'missing'}")
    return path


def file_beside(directory: Path, name: object) -> Path:
    """The path of a file that another one names. Raises `ModelError` where it would lie in another directory."""
    if not isinstance(name, str) or not name or name in (".", "..") or any(sign in name for sign in "/\\\0:"):
        raise ModelError(
            f"names the file {str(name)!r}, which is not in its own directory; such a path is not followed"
        )
    return regular(directory / name)
