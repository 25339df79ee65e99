"""What the literature found, and what is known by closed forms, reproduced here to check the instrument itself."""
