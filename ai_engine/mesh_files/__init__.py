"""Meshes as files: STL, 3MF, GLB, OBJ, PLY. Knows no jobs."""
