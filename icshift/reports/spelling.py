"""What is printed on screens that have ASCII only: `-` for a dash, `x` for ×, `#` for a full bar.

Text is spelt before it is laid out, so that columns stay in line although some signs take several characters.
"""

from __future__ import annotations

from itertools import accumulate

from rich.text import Text

_SIGNS = {
    **{"±": "+-", "²": "^2", "⁴": "^4", "ᵀ": "^T", "₁": "1", "₂": "2", "·": "*", "×": "x", "−": "-", "–": "-"},
    **{"‖": "|", "′": "'", "…": "...", "†": "+", "≈": "~", "≤": "<=", "≥": ">=", "∞": "inf", "∇": "grad ", "→": "->"},
    **{"α": "alpha", "β": "beta", "θ": "theta", "λ": "lambda"},
    **dict(zip("▁▂▃▄▅▆▇█", "_.-~=+*#", strict=True)),
    **dict(zip("▏▎▍▌▋▊▉", "...:::#", strict=True)),
    **{"━": "=", "░": ":", "─": "-", "│": "|", "└": "+", "├": "+", "┤": "+"},
}
_TABLE = str.maketrans(_SIGNS)


def spelt(words: str) -> str:
    """Returns the same words without icshift's own signs; letters of other languages stay.

    >>> spelt("run · Net · β·lr ≤ 2 – or 3× as much…")
    'run | Net | beta*lr <= 2 - or 3x as much...'
    """
    return words.replace(" · ", " | ").translate(_TABLE)


def spelt_text(words: Text) -> Text:
    """Returns the same words without icshift's own signs, in their styles."""
    plain = str(words).replace(" · ", " | ")
    places = [0, *accumulate(len(_SIGNS.get(sign, sign)) for sign in plain)]
    text = Text(plain.translate(_TABLE), style=words.style, no_wrap=words.no_wrap, justify=words.justify)
    for span in words.spans:
        text.stylize(span.style, places[span.start], places[min(span.end, len(plain))])
    return text


def instead(error: UnicodeError) -> tuple[str, int]:
    """Returns what is printed where an encoding lacks signs (a handler of errors of `codecs`): ? for what is not ours.

    >>> instead(UnicodeEncodeError("ascii", "3–4 é", 1, 2, "")), instead(UnicodeEncodeError("ascii", "3–4 é", 4, 5, ""))
    (('-', 2), ('?', 5))
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_SIGNS.get(sign, "?") for sign in error.object[error.start : error.end]), error.end
