"""Settings as somebody gives them: plain numbers, or an error that says what was found and what was expected."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from icshift.errors import RecordingError
from icshift.given import by_glob, share, truth, truth_or_whole, whole


@pytest.mark.parametrize("given", [3, np.int8(3), np.uint64(3), np.array(3), torch.tensor(3)])
def test_a_whole_number_of_any_library_is_kept_as_int(given):
    assert type(whole("window", given, 1)) is int
    assert (
        whole("window", given, 1) == truth_or_whole("resume", given, 0) == by_glob("axis", {"a": given}, 0, 9)["a"] == 3
    )


@pytest.mark.parametrize(
    ("given", "shown", "upper"),
    [
        (0, "0", ""),
        (True, "True", ""),
        (2.0, "2.0", ""),
        (np.bool_(True), repr(np.bool_(True)), ""),
        (torch.tensor(True), "tensor(True)", ""),
        (torch.tensor(2.5), "tensor(2.5000)", ""),
        (1 << 63, "9223372036854775808", " to 9,223,372,036,854,775,807"),
        ("2", "'2'", ""),
        (None, "None", ""),
    ],
)
def test_what_is_no_whole_number_is_shown(given, shown, upper):
    with pytest.raises(RecordingError) as caught:
        whole("window", given, 1)
    assert str(caught.value) == f"window is {shown}: expected a whole number from 1{upper}"


def test_a_long_value_is_shown_in_one_line():
    with pytest.raises(RecordingError) as caught:
        whole("window", torch.ones(9, 9), 1, words=("auto", None))
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).endswith('…: expected a whole number from 1, or "auto", or None')


@pytest.mark.parametrize(
    "given", [0.5, np.float32(0.5), np.float16(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2)]
)
def test_a_share_is_kept_as_float(given):
    assert type(share("overhead", given)) is float
    assert share("overhead", given) == 0.5


@pytest.mark.parametrize(
    "given", [0, 1, -0.5, True, np.bool_(True), float("nan"), "0.5", b"1", None, 1j, 10**400, [0.5]]
)
def test_what_is_no_share_is_refused(given):
    with pytest.raises(
        RecordingError, match=r"^overhead is .*: expected a share above 0 and below 1, as 0.03 for 3 %$"
    ):
        share("overhead", given)


@pytest.mark.parametrize("given", [True, np.bool_(True), torch.tensor(True)])
def test_a_truth_of_any_library_is_kept_as_bool(given):
    assert truth("force", given) is truth_or_whole("resume", given, 0) is True


@pytest.mark.parametrize("given", ["no", 1, None, torch.ones(2, dtype=torch.bool)])
def test_what_is_neither_true_nor_false_is_refused(given):
    with pytest.raises(RecordingError, match=r"^force is .*: expected True or False$"):
        truth("force", given)


@pytest.mark.parametrize("given", [None, [], "x", {0: 1}, {"0": 1.5}, {"0": True}])
def test_what_is_no_mapping_of_globs_is_refused(given):
    with pytest.raises(RecordingError, match=r"^axis.* is .*: expected a "):
        by_glob("axis", given, -9, 9)
