"""Tables on disk: the light-curve dataset, its CSV export, and the digest of its settings."""
