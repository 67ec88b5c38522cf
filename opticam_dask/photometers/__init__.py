"""photometers."""
