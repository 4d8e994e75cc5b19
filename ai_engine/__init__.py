"""The service: turns the URL of a picture into a mesh at a webhook. Knows no tensors."""

__version__ = "0.1.0"
