"""Mesh -> printable mesh, report, file."""
