"""Settings of a command that looks at a system or sends to it: what is not set is as in the system that runs here."""

from pipeline.errors import RefusedState
from pipeline.settings import Settings, load_settings

_LOOPBACK = {"localhost": "127.0.0.1", "[::1]": "127.0.0.1"}


def settings_here(**overrides: object) -> Settings:
    """As `load_settings`; but Kafka's address, topics' prefix, sources and how long flows wait for others are those of
    the system in the run folder.

    Only where neither an option, nor the environment, nor the settings file says otherwise, and while it runs. Where
    they name another Kafka nothing of it holds; where they name another prefix, Kafka's address alone.
    """
    settings = load_settings(**overrides)
    from pipeline.tools.system import record

    unset = {"bootstrap", "topic_prefix", "sources", *record.EVENT_TIME} - settings.model_fields_set
    if not unset:
        return settings
    from pipeline.tools.system.identity import is_alive

    try:
        system = record.read(settings.run_folder)
    except RefusedState:  # `up`, `status` and `down` say so, and what to do
        return settings
    if system is None or not is_alive(system.supervisor):
        return settings
    if "bootstrap" not in unset and _servers(settings.bootstrap) != _servers(system.bootstrap):
        return settings
    if settings.topic_prefix != system.topic_prefix and "topic_prefix" not in unset:
        unset &= {"bootstrap"}
    theirs = system.chosen
    options = {name: value for name, value in overrides.items() if value is not None}
    return load_settings(**{**options, **{name: theirs[name] for name in unset & theirs.keys()}})


def _servers(bootstrap: str) -> set[str]:
    """The servers that an address names; this machine has several names."""
    hosts = (server.strip().rpartition(":") for server in bootstrap.split(","))
    return {f"{_LOOPBACK.get(host, host)}:{port}" for host, _, port in hosts}
