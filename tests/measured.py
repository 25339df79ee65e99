"""What `icshift shift` measures, without its command line."""

from icshift.analysis import two_data_sets
from icshift.inputs.data import Reading, as_data
from icshift.model.sites import Sites
from icshift.replay.two_data_sets import TwoDataSets
from icshift.runs.phases import DATA, REFERENCE
from icshift.runs.reader import StoredRun

PHASES = REFERENCE, DATA


class Measured:
    """A model on two data sets: the run, what was taken, and the tables made of it."""

    def __init__(self, path, model, reference, data, *, metric="w1_sd", reading=None, samples=1024):
        both = [as_data(one, model, reading or Reading(), name) for one, name in ((reference, "A"), (data, "B"))]
        self.both = TwoDataSets(model, *both, Sites(), samples)
        self.forwards = 0
        self.shown = self.both.replay(self._count)
        self.both.write(self.shown, path, "model", {"samples": samples, "probe_examples": 0}, force=False)
        self.run = StoredRun(path)
        self.layers = {layer.name: two_data_sets.LayerDistances.of(layer) for layer in self.shown.layers}
        self.shifts = two_data_sets.shifts(self.run, self.shown.parts, metric_name=metric)
        self.sites = two_data_sets.site_table(self.run, self.shifts, self.layers, metric_name=metric).set_index("site")
        self.units = two_data_sets.unit_table(self.run, self.shifts, metric_name=metric, sites=None)

    def _count(self):
        self.forwards += 1
