"""Numerical kernels: numpy and numba, no dask."""

from opticam_dask.compiled import keep_compiled_code

keep_compiled_code()
