"""What is made of a schema, made once."""

from collections.abc import Callable
from typing import Generic, TypeVar

import pyarrow as pa

Made = TypeVar("Made")

# Schemas of one process are few: its topics', with a feature set or two.
MAX_SCHEMAS = 64


class BySchema(Generic[Made]):
    """A function of a schema that is asked for the same few again and again.

    They are compared one by one, which is done at once where it is the same object, as `arrow_schema` gives it; a
    schema's hash takes longer than that.
    """

    def __init__(self, make: Callable[[pa.Schema], Made], with_metadata: bool) -> None:
        """with_metadata: schemas are the same only where their metadata are."""
        self._make, self._with_metadata = make, with_metadata
        self._made: list[tuple[pa.Schema, Made]] = []

    def __call__(self, schema: pa.Schema) -> Made:
        """What is made of it."""
        for known, made in self._made:
            if known.equals(schema, self._with_metadata):
                return made
        made = self._make(schema)
        if len(self._made) >= MAX_SCHEMAS:
            self._made.clear()
        self._made.append((schema, made))
        return made
