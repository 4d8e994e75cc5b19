"""The only HTTP client: public addresses only."""
