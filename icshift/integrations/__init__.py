"""Recording from within the trainers of other libraries, one file each; each library is imported in its file alone."""
