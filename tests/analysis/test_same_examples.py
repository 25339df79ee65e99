"""What equal and different hashes of examples say, and what they do not."""

import pytest

from icshift.analysis.same_examples import same_examples
from icshift.runs.format import Seen

HASH, OTHER = "0123456789abcdef", "0123456789abcdee"
IMAGES, TEXTS = "0: float32 [784]", "0: int64 [12]"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (Seen(60, HASH, IMAGES), Seen(60, HASH, IMAGES), True),
        (Seen(60, HASH, IMAGES), Seen(60, OTHER, IMAGES), False),
        (Seen(60, HASH, IMAGES), Seen(50, OTHER, IMAGES), False),
        (Seen(60, HASH, None), Seen(60, HASH, None), True),
        (Seen(60, HASH, None), Seen(60, OTHER, None), None),
        (Seen(60, HASH, IMAGES), Seen(60, OTHER, None), None),
        (Seen(60, HASH, IMAGES), Seen(60, OTHER, TEXTS), None),
        (Seen(60, HASH, IMAGES), None, None),
        (None, None, None),
    ],
)
def test_it_is_said_only_where_it_is_known(first, second, expected):
    assert same_examples(first, second) is expected
    assert same_examples(second, first) is expected
