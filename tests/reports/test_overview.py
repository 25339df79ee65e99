"""What is said of many runs."""

from pathlib import Path

import numpy as np
import pandas as pd

from icshift.analysis.overview import COLUMNS
from icshift.reports.overview import overview_report


def test_every_run_is_said_what_it_is():
    runs = pd.DataFrame(
        [
            {
                "run": "runs/a",
                "state": "finished",
                "missing": [],
                "drift": 0.5,
                "floor": 0.1,
                "ratio": 5.0,
                "site": "fc1",
                "phase": "train",
            },
            {"run": "runs/b", "state": "stopped at step 7: disk full", "missing": ["1 file is gone."]},
        ],
        columns=COLUMNS,
    )
    report = overview_report(Path("runs"), runs)
    assert report.heading == "2 runs in runs, 1 of them not whole"
    assert report.warnings == ("b: stopped at step 7: disk full", "b: 1 file is gone.")
    assert "in phase train" in report.notes[0]
    assert report.data["runs"][1]["drift"] is None or np.isnan(report.data["runs"][1]["drift"])
