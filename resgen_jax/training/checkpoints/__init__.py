"""Saving and restoring a run: orbax's files, checksums of our own, fast disks and buckets."""
