"""The failure log beside the store's list: every failure in rotating JSON Lines files and in buckets. Loaded by workers and the
command line only."""
