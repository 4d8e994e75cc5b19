"""URL or upload -> pixels -> cut-out. The only door to rembg and OpenCV."""
