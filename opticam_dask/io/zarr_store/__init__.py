"""Nights of frames in one Zarr v3 store, read like a folder of FITS files."""
