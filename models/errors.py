"""What this package raises on purpose. The stages turn it into their own errors with exit codes."""


class RefusedModel(ValueError):
    """A model file, or rows for one, that must not be used; the message says what was got and what to do."""


class EarlierModel(RefusedModel):
    """A model of an earlier version: it was sound, and nothing here can score with it."""
