"""Memory that is used again and again.

Large fresh arrays are mapped, faulted in page by page and given back each time; on a virtual machine that costs up to
ten times what is computed in them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Workspace:
    """Arrays by name that live until the same name is taken again; their content is whatever was there."""

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """An array of this shape, to be written before it is read."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or len(memory) < size:
            memory = self._memory[name] = np.empty(size, np.uint8)
        return memory[:size].view(dtype).reshape(shape)
