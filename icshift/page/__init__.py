"""The page of a run: one file for a browser, without a network; `model.py` says what is on it, `write.py` makes it."""
