"""The one part of the package that is compiled: `icshift._kernel`, which is left out where it cannot be.

Everything else is in pyproject.toml. Without the kernel icshift does the same with NumPy (icshift/sketch/kernel.py).
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

KERNEL = Path("kernel")

# No -ffast-math and none of its parts that would change what a comparison with NaN says. Without contraction a quantile
# is the same number on every level of processor, and the same as NumPy's.
FLAGS = ["-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"]


class SideBySide(build_ext):
    """Compiles as many sources at once as there are cores: setuptools would compile one after the other."""

    def build_extension(self, ext):
        """Builds one extension, its sources side by side."""
        one_after_another = self.compiler.compile

        def compiled(sources, **options):
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                objects = pool.map(lambda source: one_after_another([source], **options), sources)
                return [*chain.from_iterable(objects)]

        self.compiler.compile = compiled
        super().build_extension(ext)


setup(
    cmdclass={"build_ext": SideBySide},
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
