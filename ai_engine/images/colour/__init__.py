"""What the values of a picture file mean, as an ICC profile, and their conversion to sRGB."""
