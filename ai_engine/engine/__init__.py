"""`Engine`: pictures to meshes from Python, in this process or over the API."""
