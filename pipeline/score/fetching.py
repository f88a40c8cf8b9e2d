"""How much is fetched from Kafka, and scored at once: by score, and by a shadow beside it."""

from typing import Any

MAX_GROUP_BYTES = 16 * 1024 * 1024
"""Of features messages, unpacked: some 20,000 rows, a tenth of a second. A larger group saves nothing more a row, and
is held as it came, unpacked, and in the producer's queue."""
FETCHED: dict[str, Any] = {
    # What is fetched ahead: two groups.
    "queued.max.messages.kbytes": 8_192,
    "fetch.max.bytes": 8_388_608,
    "max.partition.fetch.bytes": 1_048_576,
}
