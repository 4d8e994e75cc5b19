"""Meshes of callers' own: fetched, read in a process with limits, posed for the finish. Knows no jobs."""
