"""Routes of other services, for clients that exist: thin adapters on the same jobs, keys and limits."""
