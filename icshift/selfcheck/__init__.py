"""What the literature found, reproduced on this machine, so that the instrument itself is checked."""
