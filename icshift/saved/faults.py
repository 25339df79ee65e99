"""Whatever goes wrong with a file of somebody else's, told in one line."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import EINVAL
from pathlib import Path

from icshift.errors import ModelError

_LONGEST = 600


@contextmanager
def told(source: Path | str) -> Iterator[None]:
    """Turns every error into one line of a `ModelError` that begins with the file; keeps warnings of parsers quiet.

    A file that is damaged on purpose makes a parser fail in ways that nobody can list: this is the one place that
    catches all of them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ModelError as error:
        raise ModelError(one_line(f"{source}: {error}")) from error
    except RecursionError as error:
        raise ModelError(one_line(f"{source}: is nested too deeply for a saved model; save it anew")) from error
    except Exception as error:
        raise ModelError(one_line(f"{source}: {_reason(error)}")) from error


def said(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    first = one_line(str(error).strip().split("\n", maxsplit=1)[0])
    return f"{type(error).__name__}: {first[:160]}"


def _reason(error: Exception) -> str:
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "asks for more memory than there is: damaged, or too large for this machine"
    if isinstance(error, OSError) and error.strerror and error.errno != EINVAL:  # A place before the file's beginning.
        return f"cannot be read: {error.strerror}"
    return f"cannot be read as a saved model: damaged or cut short ({said(error)}); save it anew"


def one_line(text: str) -> str:
    """Text that is safe to print: names out of a file may hold line breaks and escape sequences of the terminal."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    squeezed = " ".join(printable.split())
    return squeezed if len(squeezed) <= _LONGEST else f"{squeezed[: _LONGEST - 1]}…"


def some(names: Iterable[str], most: int = 4) -> str:
    """The first few of many names, and how many more there are."""
    listed = list(names)
    more = f" and {len(listed) - most} more" if len(listed) > most else ""
    return ", ".join(name if len(name) <= 80 else f"{name[:79]}…" for name in listed[:most]) + more


def regular(path: Path) -> Path:
    """The path, where a file is there: a named pipe would be waited for without end."""
    if not path.is_file():
        raise ModelError(f"{path.name} is {'no regular file' if path.exists() else 'missing'}")
    return path


def beside(directory: Path, name: object) -> Path:
    """A file that another one names, which has to lie in the same directory."""
    if not isinstance(name, str) or not name or name in (".", "..") or any(sign in name for sign in "/\\\0:"):
        raise ModelError(
            f"names the file {str(name)!r}, which is not in its own directory; such a path is not followed"
        )
    return regular(directory / name)
