"""Which site of one network is compared with which of another, that may have normalisation where the first has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal, TypeAlias

from icshift.runs.format import Site

GROUPS = ("A", "B")
"""The names of the two groups of runs."""

By: TypeAlias = Literal["role", "layer"]
"""How sites are paired: a layer with the same layer, or by what the layers behind them get to see; see `align`."""


@dataclass(frozen=True)
class SitePair:
    """A site of group A and the one of group B that it is compared with."""

    a: Site
    b: Site

    @property
    def name(self) -> str:
        """Both names, or the one that they share where they are of one type too."""
        same = (self.a.name, self.a.type) == (self.b.name, self.b.type)
        return self.a.name if same else f"{self.a.name} : {self.b.name}"


@dataclass(frozen=True)
class Alignment:
    """The pairs of sites of two networks, by role and by layer, in the order of A; `alone` have no layer as partner."""

    roles: tuple[SitePair, ...]
    layers: tuple[SitePair, ...]
    alone_a: tuple[Site, ...]
    alone_b: tuple[Site, ...]

    def pairs(self, by: By) -> tuple[SitePair, ...]:
        """Returns the pairs by role or by layer."""
        return self.roles if by == "role" else self.layers

    @property
    def ways(self) -> tuple[By, ...]:
        """The ways that have pairs of their own: role before layer, and role alone where both are the same."""
        ways: tuple[By, ...] = ("role",) if self.roles == self.layers else ("role", "layer")
        return tuple(by for by in ways if self.pairs(by))

    def names(self, group: str) -> set[str]:
        """Returns the names of the sites of a group that are in any pair."""
        pairs = (*self.roles, *self.layers)
        return {pair.a.name for pair in pairs} if group == GROUPS[0] else {pair.b.name for pair in pairs}

    def only(self, globs: Sequence[str]) -> Alignment:
        """Returns the alignment of the pairs in which a site's name matches one of the globs."""
        roles, layers = (
            tuple(pair for pair in pairs if _matches(pair.a, globs) or _matches(pair.b, globs))
            for pairs in (self.roles, self.layers)
        )
        return replace(self, roles=roles, layers=layers)


def align(a: Sequence[Site], b: Sequence[Site]) -> Alignment:
    """Returns which sites of a are compared with which of b.

    By layer, sites of the same name and type are a pair. Where names do not agree because one network has more of them,
    as `nn.Sequential` renumbers its layers behind an inserted one, layers are paired by order: the first linear layer
    with the first. Normalisation layers are paired among themselves, in the same way.

    By role, a layer stands for what the layers behind it get to see. Where a normalisation without partner reads its
    output, that is the output of the normalisation: norm1 of A, which a sigmoid reads, is compared with fc1 of B, which
    a sigmoid reads there. All other pairs are those by layer.
    """
    plain = _matched(*([site for site in sites if not site.normalises] for sites in (a, b)))
    norms = _matched(*([site for site in sites if site.normalises] for sites in (a, b)))
    partners = {pair.a.name for pair in norms}, {pair.b.name for pair in norms}
    inserted = [
        {site.follows: site for site in sites if site.normalises and site.follows and site.name not in known}
        for sites, known in zip((a, b), partners, strict=True)
    ]
    roles = [SitePair(_read(pair.a, inserted[0]), _read(pair.b, inserted[1])) for pair in plain]
    order = {site.name: place for place, site in enumerate(a)}
    layers = sorted([*plain, *norms], key=lambda pair: order[pair.a.name])
    return Alignment(
        roles=tuple(sorted([*roles, *norms], key=lambda pair: order[pair.a.name])),
        layers=tuple(layers),
        alone_a=tuple(site for site in a if site not in [pair.a for pair in layers]),
        alone_b=tuple(site for site in b if site not in [pair.b for pair in layers]),
    )


def _matches(site: Site, globs: Sequence[str]) -> bool:
    return any(site.name == glob or fnmatchcase(site.name, glob) for glob in globs)


def _matched(a: Sequence[Site], b: Sequence[Site]) -> list[SitePair]:
    same = {(site.name, site.type): site for site in b}
    by_name = [SitePair(site, same[site.name, site.type]) for site in a if (site.name, site.type) in same]
    if len(by_name) < max(len(a), len(b)) and [site.type for site in a] == [site.type for site in b]:
        return [SitePair(*pair) for pair in zip(a, b, strict=True)]
    return by_name


def _read(layer: Site, inserted: Mapping[str, Site]) -> Site:
    """Returns the site whose output the layers behind this one read: its own, or that of what normalises it."""
    return layer if layer.feeds else inserted.get(layer.name, layer)
