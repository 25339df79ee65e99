"""Python imports this as it starts, in every process that a script under `icshift run` starts (see `children.py`).

It may be another Python, of any version: nothing here may fail, and nothing may be left of it but what it is for. A
`sitecustomize` that would have been imported in its place is.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _follow() -> None:
    sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != _HERE]
    told = os.environ.get("ICSHIFT_RUN", "").split("\n", 2)
    # Another Python may have no icshift, or another one.
    if told[:2] == [sys.prefix, sys.version.replace("\n", " ")]:
        from icshift.launch import children

        children.follow(told[2])


try:
    _follow()
except Exception:  # The process must not notice.
    pass

try:
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    _spec = PathFinder.find_spec("sitecustomize")
except Exception:
    _spec = None
if _spec is not None and _spec.loader is not None:
    _theirs = module_from_spec(_spec)
    sys.modules["sitecustomize"] = _theirs
    _spec.loader.exec_module(_theirs)
