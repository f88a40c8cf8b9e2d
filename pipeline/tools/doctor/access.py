"""What this principal may do with the topics and groups that stages need: asked of Kafka, nothing is written.

Kafka says of each topic which operations it would allow (DescribeTopics with authorized operations). Transactional ids
cannot be asked about; ingest and score need Write on those that begin with the prefix.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from pipeline.runtime.kafka.clients import admin
from pipeline.runtime.kafka.topics import REQUEST_S, SOON
from pipeline.settings import Settings
from pipeline.tools.doctor.findings import Finding
from pipeline.tools.processes import STAGES
from schemas.topics import topics

READ, WRITE = AclOperation.READ, AclOperation.WRITE
WORDS = {READ: "read", WRITE: "write"}
MAX_SHOWN = 6


class Need(NamedTuple):
    """A stage needs an operation on a topic (`raw`), or on its group (the stage's name, `is_group`)."""

    stage: str
    name: str
    operation: AclOperation
    is_group: bool = False


def needs(stages: Iterable[str]) -> list[Need]:
    """What the `run` commands of stages do, by the table of topics; those that read in a group have to join it."""
    wanted = []
    for stage in stages:
        for topic in topics().values():
            wanted += [Need(stage, topic.name, READ)] if f"{stage} run" in topic.readers else []
            wanted += [Need(stage, topic.name, WRITE)] if f"{stage} run" in topic.writers else []
        wanted.append(Need(stage, stage, READ, is_group=True))
    return wanted


def access(settings: Settings, stage: str | None) -> Finding:
    """Whether this principal may do what a stage does (`stage`), or what all of them do; KafkaException without answer.

    Without `stage` a lack is a warning: people, and a stage's own principal, need less than all stages together.
    """
    wanted = needs((stage,) if stage else STAGES)
    allowed = operations(settings, wanted)
    lacking = [need for need in wanted if need in allowed and need.operation not in allowed[need]]
    asked = sum(need in allowed for need in wanted)
    whose = f"{stage}'s" if stage else "all stages'"
    if not asked:
        return Finding("access", "warn", "Kafka does not say what this principal may do", "ask its administrator")
    if not lacking:
        return Finding("access", "ok", f"all {asked} of {whose} reads and writes are allowed")
    shown = ", ".join(_says(need, settings) for need in lacking[:MAX_SHOWN])
    more = f", and {len(lacking) - MAX_SHOWN} more" if len(lacking) > MAX_SHOWN else ""
    remedy = "allow it with ACLs for this principal, or set FOREBAY_SECURITY to another"
    return Finding(
        "access",
        "fail" if stage else "warn",
        f"not allowed: {shown}{more}",
        remedy if stage else f"{remedy}; of a stage's own principal: `forebay doctor --stage NAME`",
        f"{whose} {asked} reads and writes",
    )


def _says(need: Need, settings: Settings) -> str:
    what = (
        f"join the group {settings.topic_prefix}{need.name}"
        if need.is_group
        else (f"{WORDS[need.operation]} {settings.topic_prefix}{need.name}")
    )
    return f"{need.stage}: {what}"


def operations(settings: Settings, wanted: Iterable[Need]) -> Mapping[Need, set[AclOperation]]:
    """Of each need what Kafka allows on its topic or group; those that are not there, or not said, are left out."""
    client, wanted = admin(settings), list(wanted)
    names = sorted({settings.topic_prefix + need.name for need in wanted if not need.is_group})
    groups = sorted({settings.topic_prefix + need.name for need in wanted if need.is_group})
    by_topic, by_group = _of_topics(client, names), _of_groups(client, groups)
    found = {need: (by_group if need.is_group else by_topic).get(settings.topic_prefix + need.name) for need in wanted}
    return {need: allowed for need, allowed in found.items() if allowed is not None}


def _of_topics(client: AdminClient, names: list[str]) -> dict[str, set[AclOperation]]:
    asked = client.describe_topics(
        TopicCollection(names), include_authorized_operations=True, request_timeout=REQUEST_S
    )
    found: dict[str, set[AclOperation]] = {}
    for name, future in asked.items():
        try:
            allowed = future.result().authorized_operations
        except KafkaException as error:
            if error.args[0].code() in SOON:
                continue  # it is not there: that is another finding
            if "AUTHORIZATION" not in error.args[0].name():
                raise
            allowed = []
        if allowed is not None:
            found[name] = set(allowed)
    return found


def _of_groups(client: AdminClient, names: list[str]) -> dict[str, set[AclOperation]]:
    asked = client.describe_consumer_groups(names, include_authorized_operations=True, request_timeout=REQUEST_S)
    found: dict[str, set[AclOperation]] = {}
    for name, future in asked.items():
        try:
            allowed = future.result().authorized_operations
        except KafkaException as error:
            if "AUTHORIZATION" in error.args[0].name():
                found[name] = set()
            continue  # a group that nobody has joined yet is not known to Kafka
        if allowed is not None:
            found[name] = set(allowed)
    return found
