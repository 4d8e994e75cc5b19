"""What a request brings besides plain fields: file parts, a pedestal inside a field, and the files kept for its job."""
