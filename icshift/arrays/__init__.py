"""Activations that somebody dumped himself: arrays of rows and units, in memory or files, and how far they drifted."""
