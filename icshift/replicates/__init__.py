"""Groups of training runs set against each other: values of a run, which sites are compared, tests and intervals."""
