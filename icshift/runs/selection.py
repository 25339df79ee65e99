"""Sites by name or glob, in one way wherever they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from icshift.errors import unknown
from icshift.runs.format import Site


def choose(sites: list[Site], names: str | Iterable[str] | None) -> list[Site]:
    """Returns the sites whose name is one of the names or matches one of them as a glob, in their order; None: all.

    Raises `SelectionError` for a name that matches no site.
    """
    if names is None:
        return sites
    globs = [names] if isinstance(names, str) else list(names)
    for glob in globs:
        if not any(_matches(site, glob) for site in sites):
            raise unknown("site", glob, [site.name for site in sites])
    return [site for site in sites if any(_matches(site, glob) for glob in globs)]


def _matches(site: Site, glob: str) -> bool:
    # A name may hold what a glob gives a meaning to, as in `lstm[0]`.
    return site.name == glob or fnmatchcase(site.name, glob)
