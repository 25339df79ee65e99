"""The fixed zoo of distributions on which every numeric law is tried.

Each is a function of a generator, the number of values and the number of units, and gives [units, n] in float64. `draw`
rounds to float32, so that an oracle and a float32 recording see the same numbers.
"""

from functools import lru_cache
from zlib import crc32

import numpy as np


def normal(rng, n, units):
    return rng.normal(size=(units, n))


def shifted(rng, n, units):
    return rng.normal(0.5, 1, size=(units, n))


def off_centre(rng, n, units):
    return rng.normal(100, 1, size=(units, n))


def relu(rng, n, units):
    return np.maximum(normal(rng, n, units), 0)


def constant(_, n, units):
    return np.full((units, n), 3.7)


def all_zero(_, n, units):
    return np.zeros((units, n))


def tiny(rng, n, units):
    return 1e-6 * normal(rng, n, units)


def huge(rng, n, units):
    return 1e6 * normal(rng, n, units)


def lognormal(rng, n, units):
    return rng.lognormal(size=(units, n))


def student_t3(rng, n, units):
    return rng.standard_t(3, size=(units, n))


def bimodal(rng, n, units):
    return rng.normal(size=(units, n)) / 4 + 4 * rng.integers(2, size=(units, n)) - 2


def saturated(rng, n, units):
    return 1 / (1 + np.exp(-20 * normal(rng, n, units)))


def clipped(rng, n, units):
    """Ties at two values that are not round, with others between and beyond (one end only)."""
    return np.maximum(np.where(rng.random((units, n)) < 0.3, 0.1, normal(rng, n, units)), -0.7)


def dropped(rng, n, units):
    """Zeros between negative and positive values, as after dropout."""
    return np.where(rng.random((units, n)) < 0.4, 0, 1000 * normal(rng, n, units))


def with_nan(rng, n, units):
    return np.where(rng.random((units, n)) < 0.1, np.nan, normal(rng, n, units))


def with_inf(rng, n, units):
    values = normal(rng, n, units)
    values[:, ::7] = np.inf
    values[:, 3::7] = -np.inf
    return values


def one_unit_diverged(rng, n, units):
    values = normal(rng, n, units)
    values[0] = np.nan
    return values


_FINITE = (normal, shifted, off_centre, relu, constant, all_zero, tiny, huge)
_FINITE += (lognormal, student_t3, bimodal, saturated, clipped, dropped)
_BROKEN = (with_nan, with_inf, one_unit_diverged)

ZOO = {animal.__name__: animal for animal in (*_FINITE, *_BROKEN)}
FINITE = tuple(animal.__name__ for animal in _FINITE)
BROKEN = tuple(animal.__name__ for animal in _BROKEN)


@lru_cache(maxsize=256)
def draw(name, n, units=3, seed=0):
    """Values [units, n] of an animal, read-only, always the same for the same arguments."""
    values = ZOO[name](np.random.default_rng([crc32(name.encode()), n, units, seed]), n, units)
    values = values.astype(np.float32).astype(float)
    values.flags.writeable = False
    return values


def scale(values):
    """The size of numbers, for absolute tolerances: the largest finite magnitude, or 1 if there is none or it is 0."""
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0
