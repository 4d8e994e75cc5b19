"""What one published family of shape models says of itself: tensor names, sizes, settings, licence."""
