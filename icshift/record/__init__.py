"""Recording: the only subpackage, with `training`, that imports torch."""
