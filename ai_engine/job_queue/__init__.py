"""The durable queue: the only door to DBOS on the asking side, and all SQL."""
