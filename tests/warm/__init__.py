"""A Python that has imported the heavy packages before it is started.

Most tests that start processes would spend their time in `import torch`. `python()` and `icshift()` are programs that
behave as `sys.executable` and `icshift` do, but what they run is run by a fork of one process (`server.py`) that has
imported PyTorch, pandas and scikit-learn, and nothing of icshift. `tests/test_warm.py` compares them with a new
interpreter. For options of the interpreter, and where it counts what has been imported, start `sys.executable`.
"""
