"""From scans on a disk to patches in a batch."""
