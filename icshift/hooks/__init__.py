"""Forward hooks on a model, and what becomes of the tensors that they see."""
