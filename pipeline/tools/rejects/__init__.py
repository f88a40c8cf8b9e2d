"""Rejects for people: read from their topic, counted, and a line each."""
