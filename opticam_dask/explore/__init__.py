"""Cube explorer for Jupyter: frames as they are asked for, stars, light curves and cutouts.

The model (`ExplorerModel`) knows no widget, the figure (`ExplorerView`) no file, and `CubeExplorer` ties
them to sliders. Widgets are ipywidgets, the picture an ipympl canvas: it draws the figures that the rest of
the package draws, and a server-side figure sends one picture per frame, however many pixels the frame has.
"""

from opticam_dask.explore.explorer import CubeExplorer as CubeExplorer
from opticam_dask.explore.model import ExplorerModel as ExplorerModel
