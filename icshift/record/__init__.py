"""Recording a model while it trains: the recorder, what its steps are counted by, the probe, and what is written."""
