"""What a receiver gets, how it is signed, when it is tried again."""
