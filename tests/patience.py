"""How long a test waits for what must come: far longer than that takes, for a busy machine is no failure."""

PATIENCE_S = 240.0
