"""Triangle geometry in numpy: topology, cleaning, search, rendering. Knows no jobs."""
