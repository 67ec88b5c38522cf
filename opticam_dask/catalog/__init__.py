"""Catalogues: alignment, stacking, source finding, and their files."""
