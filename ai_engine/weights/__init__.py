"""Published weights brought to this machine: by `fetch-weights`, or on first use."""
