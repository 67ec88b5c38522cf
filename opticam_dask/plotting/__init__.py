"""Figures, one kind a module: data and an Axes in, the Axes out."""
