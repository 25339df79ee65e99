"""Whether what a report says of noise is true: frozen networks, known shifts, theory."""
