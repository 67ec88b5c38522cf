"""One page that shows what was reduced, how well, and every light curve, without server or network."""

from opticam_dask.report.write import write_report as write_report
