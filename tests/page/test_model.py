"""What a page is made of."""

from icshift.page.model import block_of


def test_blocks_are_names_without_their_last_part():
    assert [block_of(name) for name in ("a.b.c", "a", "a.b")] == ["a.b", "", "a"]
