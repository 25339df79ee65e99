"""The formats of saved models, a file each."""
