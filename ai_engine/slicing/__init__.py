"""Mesh file to G-code: PrusaSlicer's command in a process of its own, profiles from a folder. Knows no jobs."""
