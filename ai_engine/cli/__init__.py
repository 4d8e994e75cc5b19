"""What `python main.py` runs: supervisor, demo, doctor, fetch_weights, webhook_test."""
