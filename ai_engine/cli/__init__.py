"""What `ai-engine` and `python main.py` run: generate, finish, check, supervisor, doctor, ..."""
