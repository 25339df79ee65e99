"""A recorded training with batch norm, and its page, which takes seconds to compute."""

import pytest

from icshift.analysis.metrics import METRICS
from icshift.page.build import Asked, page_of
from icshift.runs.reader import StoredRun


@pytest.fixture(scope="session")
def normed(with_batch_norm):
    run = StoredRun(with_batch_norm)
    return run, page_of(run, Asked(METRICS["w1_sd"], "previous", None, None, ""))
