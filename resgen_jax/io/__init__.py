"""Floor 1: paths on disks and in buckets, files that come whole or not at all, locks, archives."""
