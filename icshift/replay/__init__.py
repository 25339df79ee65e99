"""Saved models on given inputs."""
