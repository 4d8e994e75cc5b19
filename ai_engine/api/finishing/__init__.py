"""Requests that begin with a mesh, a job's or a caller's own: their files, their admission, their routes."""
