"""What MLflow's own client finds in its store of files.

MLflow is not among what the tests install: its thirty packages are no part of icshift's. It takes
`pip install 'icshift[mlflow]'` in an environment of its own to run this.
"""

import numpy as np
import pytest

from icshift.api import Run
from icshift.trackers.series import LOGGED, Asked, Scalars, Sent, Written, sent

pytest.importorskip("mlflow", reason="an extra with many packages of its own: pip install 'icshift[mlflow]'")

from mlflow import MlflowClient

from icshift.trackers.mlflow import plain, write


def read(folder):
    client = MlflowClient(tracking_uri=folder.as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("icshift").experiment_id])
    return run, {
        name: [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def test_every_number_is_read_back(with_batch_norm, tmp_path):
    series = list(sent(Run(with_batch_norm), Asked(("w1_sd",))))
    written = write(tmp_path, Run(with_batch_norm), series)
    run, found = read(tmp_path)
    assert (run.info.run_name, run.info.status, run.data.params["model"]) == ("normed", "FINISHED", "Sequential")
    expected = {
        f"{of.phase}/{one.name}": list(zip(one.steps.tolist(), one.values.tolist(), strict=True))
        for of in series
        for one in of.scalars
    }
    assert found == expected
    assert written == Written(len(expected), 0)


NAMES = ("relu#2", "lstm[0]", "cell#16+", "a/b", "a", "..", ".", "", "λ", "x y", "100%")


def test_names_of_any_kind_are_kept_apart(with_batch_norm, tmp_path):
    scalars = [Scalars(f"sd/{name}", "", np.array([3]), np.array([float(at)])) for at, name in enumerate(NAMES)]
    logged = [Scalars(f"{LOGGED}/loss", "", np.array([1]), np.array([np.inf]))]
    write(tmp_path, Run(with_batch_norm), [Sent("a/../b", tuple(scalars)), Sent(LOGGED, tuple(logged))])
    _, found = read(tmp_path)
    assert sorted(rows[0][1] for name, rows in found.items() if "/sd/" in name) == [
        float(at) for at in range(len(NAMES))
    ]
    assert found["logged/loss"][0][0] == 1
    assert found["logged/loss"][0][1] > 1e300
    assert len({plain(name) for name in NAMES}) == len(NAMES)
