"""The compiled kernel. `kernel/kernel.h` says what each function does, `kernel/module.c` what it checks."""

from icshift.distribution import Floats, Ints

def scan(
    address: int,
    rows: int,
    units: int,
    positions: int,
    stride: int,
    table: Floats | None,
    centre: Floats | None,
    known: bool,
    drawn: Ints | None,
    n: int,
    sampled: Floats,
    first: int,
    /,
) -> None: ...
def order(
    rows: Floats,
    steps: int,
    n: int,
    units: int,
    values: Floats,
    table: Floats,
    zeros: Ints,
    quantiles: Floats,
    slices: Floats,
    probabilities: Floats,
    /,
) -> None: ...
def sort_level(level: Floats, units: int, rounding: float, moved: Floats, /) -> None: ...
def digest(
    levels: tuple[Floats, ...],
    fills: Ints,
    weights: Ints,
    units: int,
    slices: int,
    values: Floats,
    error: Floats | None,
    tails: Floats | None,
    /,
) -> None: ...
