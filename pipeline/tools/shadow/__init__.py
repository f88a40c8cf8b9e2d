"""A candidate beside the model in use: the same live rows scored again, and what differs, counted."""
