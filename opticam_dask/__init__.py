"""Calibrated light curves from nights of high-speed multi-camera CCD frames, on a laptop or a cluster."""
