"""Weights files read strictly, weights that wait in main memory (offload), weights in eight bits."""
