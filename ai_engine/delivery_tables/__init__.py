"""What the job database keeps for deliveries beside the queue: the key of links, hosts that were slow lately."""
