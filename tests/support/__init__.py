"""What several tests share: servers, shapes, meshes that are broken on purpose."""
