"""How networks run on a device: warm-up, compiled calls, attention kernels, running out of memory."""
