"""What dashboards of experiments show of a run: the series that are sent, and one file for each dashboard."""
