"""Sites by name or glob, in one way wherever they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from icshift.errors import unknown
from icshift.runs.format import Site

_MEANING = frozenset("*?[")
"""What makes a glob match more than itself."""


def choose(sites: list[Site], names: str | Iterable[str] | None) -> list[Site]:
    """Returns the sites whose name is one of the names or matches one of them as a glob, in their order; None: all.

    Raises `SelectionError` for a name that matches no site.
    """
    if names is None:
        return sites
    globs = [names] if isinstance(names, str) else list(names)
    exact = frozenset(globs)
    # A name may hold what a glob gives a meaning to, as in `lstm[0]`: it is both.
    patterns = [glob for glob in globs if _MEANING.intersection(glob)]
    there = {site.name for site in sites}
    for glob in globs:
        if glob not in there and not any(fnmatchcase(name, glob) for name in there):
            raise unknown("site", glob, [site.name for site in sites])
    return [
        site for site in sites if site.name in exact or any(fnmatchcase(site.name, pattern) for pattern in patterns)
    ]
