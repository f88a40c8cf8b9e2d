"""Stage 2: event time, windows, features."""
