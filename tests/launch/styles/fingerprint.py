"""A project's own module: what its scripts print at their end."""

import hashlib


def fingerprint(*models):
    """A hash of all parameters and buffers of some models."""
    tensors = [tensor for model in models for tensor in model.state_dict().values()]
    return hashlib.sha256(b"".join(t.detach().contiguous().double().numpy().tobytes() for t in tensors)).hexdigest()
