"""What happened, as numbers and traces."""
