"""Memory that is used again and again, instead of fresh arrays.

Large fresh arrays are mapped, faulted in page by page and given back each time; on a virtual machine that costs up to
ten times what is computed in them.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class Workspace:
    """Arrays by name. An array is valid until the same name is taken again, and then overwritten."""

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Returns an array of this shape and type, with anything in it: write before you read."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or len(memory) < size:
            memory = self._memory[name] = np.empty(size, np.uint8)
        return memory[:size].view(dtype).reshape(shape)
