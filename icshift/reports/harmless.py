"""Names that others chose, made harmless for whoever prints them: none moves the cursor or turns letters round.

A module may be called anything, and a run or a saved model may be a stranger's.
"""

from __future__ import annotations

from rich.text import Text

INSTEAD = "\N{REPLACEMENT CHARACTER}"
"""What stands for such a sign: one character, so that nothing else changes its place."""

_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_BREAKS = [0x2028, 0x2029]
_DIRECTIONS = [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_SURROGATES = range(0xD800, 0xE000)
_TABLE = dict.fromkeys([*_CONTROLS, *_BREAKS, *_DIRECTIONS, *_SURROGATES], INSTEAD)
_STRAIGHT = dict.fromkeys(_DIRECTIONS, INSTEAD)
_LINES = {code: sign for code, sign in _TABLE.items() if code != ord("\n")}


def harmless(name: str) -> str:
    """Returns a name in one line that shows nothing but itself.

    >>> harmless("\\x1b[31mred\\n"), harmless("Schicht/層 1")
    ('\N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}', 'Schicht/層 1')
    """
    return name.translate(_TABLE)


def in_one_direction(name: str) -> str:
    r"""Returns a name that turns nothing round, itself or what stands after it; all else is as it was.

    >>> in_one_direction("a\u202eb\n")
    'a�b\n'
    """
    return name.translate(_STRAIGHT)


def harmless_lines(text: Text) -> Text:
    """Returns text of one or more lines, in its styles."""
    made = text.copy()
    made.plain = text.plain.translate(_LINES)
    return made
