"""Settings of a command that looks at a system or sends to it: what is not set is as in the system that runs here."""

from pipeline.errors import RefusedState
from pipeline.settings import Settings, load_settings


def settings_here(**overrides: object) -> Settings:
    """As `load_settings`; but Kafka's address, topics' prefix, sources and how long flows wait for others are those of
    the system in the run folder.

    Only where neither an option, nor the environment, nor the settings file says otherwise, and while it runs.
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
    theirs = {"bootstrap": system.bootstrap, "topic_prefix": system.topic_prefix, "sources": system.sources}
    theirs |= {name: value for name, value in system.event_time.items() if name in record.EVENT_TIME}
    options = {name: value for name, value in overrides.items() if value is not None}
    return load_settings(**{**options, **{name: theirs[name] for name in unset & theirs.keys()}})
