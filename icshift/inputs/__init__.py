"""What is sent through a saved model: data, targets, losses, and the model that a spec names."""
