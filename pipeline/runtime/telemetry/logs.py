"""Structured logs: JSON lines on stderr, one per thing an operator may act on; never one per record.

What libraries log (aiokafka, librdkafka, Faust, mode, Python's warnings) takes the same way, and is rate-limited: one
line in ten minutes of each sentence. What they say of lost connections is left out altogether, as long as it is no more
than that: the stage's own watch reports when Kafka goes and when it comes back (kafka/outage.py).
"""

import logging
import sys
import time
from typing import Any

import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

# One line of each sentence within so long: aiokafka alone logs 60 lines a second while a broker is away.
REPEAT_AFTER_S = 600.0
# Sentences are known by logger and text before its arguments are filled in; libraries have some hundred of them.
MAX_SENTENCES = 1_000
# Loggers whose warnings and errors are about the connection to Kafka, reported once by KafkaWatch.
CONNECTION = ("aiokafka", "faust.transport", "faust.livecheck", "mode", "faust", "asyncio")
# Words that mark such a message, in its text or its exception.
CONNECTION_WORDS = (
    "connect",
    "coordinator",
    "metadata",
    "heartbeat",
    "rejoin",
    "rebalanc",
    "nodenotready",
    "request timed out",
    "requesttimedout",
    "staleleaderepoch",
    "failed fetch",
    "broker",
    "timer",
)


def configure(level: str) -> None:
    """Send our logs, and the libraries' warnings, to stderr as JSON lines."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        # What stderr is when `log` makes a logger: a file that took its place for a while before may be closed by then.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(LibraryLines())
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)
    # librdkafka's own lines come through `logger=` (kafka/clients.py).


class LibraryLines(logging.Handler):
    """What libraries log, as lines of ours, each sentence once in a while."""

    def __init__(self, clock: Any = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._shown_at: dict[tuple[str, str], float] = {}
        self._left_out: dict[tuple[str, str], int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, unless the sentence was written a moment ago or only says that Kafka is away."""
        try:
            if is_about_connection(record):
                return
            sentence = (record.name, str(record.msg)[:200])
            now = self._clock()
            shown_at = self._shown_at.get(sentence)
            if shown_at is not None and now - shown_at < REPEAT_AFTER_S:
                self._left_out[sentence] = self._left_out.get(sentence, 0) + 1
                return
            if len(self._shown_at) >= MAX_SENTENCES:
                self._shown_at.clear()
                self._left_out.clear()
            self._shown_at[sentence] = now
            self._write(record, self._left_out.pop(sentence, 0))
        except Exception:
            self.handleError(record)

    def _write(self, record: logging.LogRecord, left_out: int) -> None:
        level = record.levelname.lower() if record.levelname.lower() in LEVELS else "error"
        facts: dict[str, Any] = {"logger": record.name}
        if left_out:
            facts["left_out"] = left_out
        if record.exc_info and record.exc_info[0] is not None:
            facts["exc_info"] = record.exc_info
        getattr(structlog.get_logger(), level)(record.getMessage(), **facts)


def is_about_connection(record: logging.LogRecord) -> bool:
    """Whether a library's line says no more than that Kafka does not answer."""
    if record.levelno >= logging.CRITICAL or not record.name.startswith(CONNECTION):
        return False
    text = record.getMessage().lower()
    if record.exc_info and record.exc_info[0] is not None:
        text += f" {record.exc_info[0].__name__} {record.exc_info[1]}".lower()
    return any(word in text for word in CONNECTION_WORDS)


def log(stage: str) -> Any:
    """A logger that names its stage."""
    return structlog.get_logger().bind(stage=stage)
