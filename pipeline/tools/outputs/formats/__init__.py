"""A revision of an incident in the formats of receivers: one file a format, pure functions."""
