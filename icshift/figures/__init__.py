"""Figures for papers and slides, by Altair: of the same `Page`, in the same look, as the page of a run."""
