"""What any HTTP service needs: server, middleware, problems, keys, limits. Knows no jobs."""
