"""Whether two windows saw the same examples: then what differs between them is no choice of examples."""

from __future__ import annotations

from icshift.runs.format import Seen


def same_examples(first: Seen | None, second: Seen | None) -> bool | None:
    """Returns whether two phases saw the same examples, in whatever order and batches; None where it is not known.

    Of a window they are `Window.seen(phase)`. Each example counts as often as it was seen. An example that was
    augmented anew is another one.

    >>> once, other = (Seen(2, hash, "0: float32 [784]") for hash in ("00000000000000fe", "00000000000000ff"))
    >>> same_examples(once, once), same_examples(once, other), same_examples(once, None)
    (True, False, None)
    """
    if first is None or second is None:
        return None
    if first.hash == second.hash and first.examples == second.examples:
        return True
    return False if first.rows is not None and first.rows == second.rows else None
