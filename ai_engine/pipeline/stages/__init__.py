"""What the stages of a job do but for the device: pictures, meshes of callers, the finished files."""
