"""Mesh -> printable mesh, report, pictures."""
