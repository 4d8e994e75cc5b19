"""What workers can do besides running their models, as they announce it in the job database."""
