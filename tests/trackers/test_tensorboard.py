"""What TensorBoard's own reader finds in what was written for it."""

import numpy as np
import pytest

from icshift.api import Run
from icshift.trackers.series import Asked, Histograms, Scalars, Sent, histogram, sent
from tests.recorded import of_zoo

pytest.importorskip("tensorboard", reason="an extra: pip install 'icshift[tensorboard]'")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from icshift.trackers.tensorboard import write

WHOLE = {"scalars": 0, "histograms": 0}


def read(folder):
    found = EventAccumulator(str(folder), size_guidance=WHOLE)
    return found.Reload()


@pytest.fixture(scope="module")
def series(with_batch_norm):
    return list(sent(Run(with_batch_norm), Asked(("w1", "w1_sd"))))


@pytest.fixture(scope="module")
def written(series, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tensorboard")
    write(folder, None, series)
    return folder


def test_every_number_is_read_back(series, written):
    assert sorted(path.name for path in written.iterdir()) == sorted(one.phase for one in series)
    for of_phase in series:
        back = read(written / of_phase.phase)
        assert back.Tags()["scalars"] == [one.name for one in of_phase.scalars]
        for one in of_phase.scalars:
            events = back.Scalars(one.name)
            assert [event.step for event in events] == one.steps.tolist()
            assert [event.value for event in events] == one.values.astype(np.float32).tolist()
            assert back.SummaryMetadata(one.name).summary_description == one.meaning


def test_every_histogram_is_read_back(series, written):
    for of_phase in series:
        back = read(written / of_phase.phase)
        assert back.Tags()["histograms"] == [one.name for one in of_phase.histograms]
        for one in of_phase.histograms:
            for event, each in zip(back.Histograms(one.name), one.each, strict=True):
                found = event.histogram_value
                assert event.step == each.step
                assert (found.min, found.max) == (each.edges[0], each.edges[-1])
                assert found.bucket_limit == each.edges[1:].tolist()
                assert found.bucket == each.counts.tolist()
                assert (found.num, found.sum, found.sum_squares) == (each.counts.sum(), each.sum, each.squares)


def test_it_shows_histograms_of_the_same_counts(tmp_path):
    """Its plugin makes tensors of [left, right, count] of what is written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    each = histogram(of_zoo("normal", 300), step=7)
    write(tmp_path, None, [Sent("train", (), (Histograms("activations/fc", "", (each,)),))])
    (file,) = (tmp_path / "train").iterdir()
    (value,) = [value for event in EventFileLoader(str(file)).Load() for value in event.summary.value]
    rows = make_ndarray(value.tensor)
    np.testing.assert_allclose(rows[:, 2], each.counts)
    np.testing.assert_allclose(rows[:, 0], each.edges[:-1])
    np.testing.assert_allclose(rows[:, 1], each.edges[1:])


@pytest.mark.parametrize("phase", ["..", "../up", "/root", "a b", ".hidden", "gp/λ", "100%"])
def test_a_phase_of_any_name_stays_in_the_folder(phase, tmp_path):
    one = Scalars("sd/fc", "", np.array([0]), np.array([1.0]))
    write(tmp_path / "logs", None, [Sent(phase, (one,))])
    assert [path.name for path in tmp_path.iterdir()] == ["logs"]
    (folder,) = (tmp_path / "logs").iterdir()
    assert read(folder).Scalars("sd/fc")[0].value == 1.0
