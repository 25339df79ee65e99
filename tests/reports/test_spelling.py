"""Signs of icshift's own in ASCII."""

import codecs

import pytest
from rich.text import Text

from icshift.reports.spelling import instead, spelt, spelt_text

codecs.register_error("test-instead", instead)


def test_words_of_other_languages_stay():
    assert spelt("modèle · 2× ≤ 3 – 数") == "modèle | 2x <= 3 - 数"


def test_styles_stay_at_their_words():
    text = Text.assemble("β ", ("λ₁·lr", "bold"), " ≤ 2", style="dim", no_wrap=True)
    plain = spelt_text(text)
    assert plain.plain == "beta lambda1*lr <= 2"
    assert [(plain.plain[span.start : span.end], span.style) for span in plain.spans] == [("lambda1*lr", "bold")]
    assert (plain.style, plain.no_wrap) == ("dim", True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437"])
def test_what_an_encoding_lacks_is_spelt(encoding):
    assert "▁█–†é数".encode(encoding, "test-instead").decode(encoding).replace("é", "?") in (
        "_#-+??",
        "_█-+??",
        "_#–†??",
    )


def test_only_what_is_encoded_can_be_spelt():
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", "test-instead")
