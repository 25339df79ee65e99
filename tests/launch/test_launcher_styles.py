"""What is claimed of trainings that are loops of their own: see `claims.py`."""

import pytest

from tests.launch.claims import (  # noqa: F401
    ran,
    test_drift_is_scipys_within_the_printed_bound,
    test_every_activation_is_counted_in_its_phase_and_window,
    test_every_line_of_the_summary_is_true,
    test_output_and_parameters_are_what_they_are_without,
    test_what_other_processes_train_is_recorded,
    test_windows_are_the_epochs_that_the_script_counts,
)
from tests.launch.truths import STYLES_BY_NAME

pytestmark = pytest.mark.usefixtures("interruptible")

STYLES = tuple(name for name, style in STYLES_BY_NAME.items() if not style.needs and style.epoch)
