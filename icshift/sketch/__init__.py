"""From activations to what is kept of them: moments of all, quantiles of a sample."""
