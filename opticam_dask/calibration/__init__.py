"""Master frames of bias, dark and flat, and frames calibrated with them as they are read."""
