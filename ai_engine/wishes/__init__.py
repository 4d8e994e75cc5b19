"""What may be asked of a mesh besides plain values, with its bounds and what makes no sense. Knows no jobs."""
