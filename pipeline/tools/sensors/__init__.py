"""Sensors for people: notices of their baselines read from their topic, and what is said of each."""
