"""The process that runs jobs: stages made durable, heartbeat, failover, shutdown, retention."""
