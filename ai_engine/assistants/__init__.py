"""Tools for assistants by the Model Context Protocol: pictures to meshes, finish again, check."""
