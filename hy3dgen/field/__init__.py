"""Points to values to mesh: a field asked where its surface is, and the surface as triangles. Knows no network."""
