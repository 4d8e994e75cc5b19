"""One picture to a mesh at a webhook, shown on this machine: the service, its caller and its receiver."""
