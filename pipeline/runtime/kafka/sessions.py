"""How long a worker may send no heartbeat before Kafka gives its partitions to others."""

from pipeline.settings import Settings

SESSION_TIMEOUT_S = {
    "ingest": 10.0,
    # Faust sends heartbeats from the thread that also fetches and computes: a long step must not end the session.
    "featurize": 30.0,
    "alert": 30.0,
    # While the broker is away the main thread waits inside a transaction. Were the session to end meanwhile, librdkafka
    # would send heartbeats without a member id and be fenced by itself, for good.
    "score": 45.0,
    # Closing a large file holds the archive's loop for some seconds.
    "archive": 30.0,
    "retrain": 10.0,
}
OTHERS_S = 10.0
"""The session timeout of a consumer that belongs to no stage."""
HEARTBEATS = 5
"""So many heartbeats fit into a session: four may be lost in a row."""
MAX_HEARTBEAT_S = 3.0


def session_timeout_s(settings: Settings, stage: str) -> float:
    """The session timeout of a stage's consumer, in seconds: the setting, or else the stage's own."""
    return settings.session_timeout_s or SESSION_TIMEOUT_S.get(stage, OTHERS_S)


def heartbeat_s(session_s: float) -> float:
    """How often a member of such a session says that it lives, in seconds."""
    return min(MAX_HEARTBEAT_S, session_s / HEARTBEATS)
