"""How `models/tiny` was made: shapes, renders, data, training and evaluation. Not needed to serve."""
