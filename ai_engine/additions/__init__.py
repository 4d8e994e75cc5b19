"""What is added to a posed mesh by exact booleans: hollow, base, ring, magnet. Millimetres, Z up; knows no jobs."""
