"""The one part of the package that is compiled: `icshift._kernel`, which is left out where it cannot be.

Everything else is in pyproject.toml. Without the kernel icshift does the same with NumPy (icshift/sketch/kernel.py).
"""

from pathlib import Path

from setuptools import Extension, setup

KERNEL = Path("kernel")

# No -ffast-math and none of its parts that would change what a comparison with NaN says. Without contraction a quantile
# is the same number on every level of processor, and the same as NumPy's.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]

setup(
    ext_modules=[
        Extension(
            "icshift._kernel",
            sources=sorted(map(str, [*KERNEL.glob("*.c"), *KERNEL.glob("*.cc")])),
            depends=sorted(map(str, KERNEL.glob("*.h"))),
            extra_compile_args=FLAGS,
            define_macros=[("Py_LIMITED_API", "0x030b0000")],
            py_limited_api=True,
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
