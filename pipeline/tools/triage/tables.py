"""The tables of the page's store: those copied from topics, which can be made again, and those of its own."""

from pipeline.errors import Failed
from pipeline.tools.triage.database import Connection, Database

COPY_VERSION = 7
"""Of the tables that are copied from topics: with another one they are made again from the topics."""
OWN_VERSION = 1
INCIDENT, VERDICT, SENSORS = "incident", "verdict", "sensors"
"""Kinds of what is in `changes`."""

OWN = (
    "CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE IF NOT EXISTS accounts (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, created_us BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS sessions (
        token TEXT PRIMARY KEY, name TEXT NOT NULL, role TEXT NOT NULL, csrf TEXT NOT NULL, account TEXT,
        created_us BIGINT NOT NULL, used_us BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS audit (
        number BIGINT PRIMARY KEY, at_us BIGINT NOT NULL, who TEXT NOT NULL, origin TEXT NOT NULL, action TEXT NOT NULL,
        about TEXT NOT NULL, result TEXT NOT NULL)""",
)
COPIED = (
    """CREATE TABLE positions (
        topic TEXT NOT NULL, number BIGINT NOT NULL, next_offset BIGINT NOT NULL, PRIMARY KEY (topic, number))""",
    """CREATE TABLE alerts (
        uid TEXT PRIMARY KEY, revision BIGINT NOT NULL, incident TEXT NOT NULL, event TEXT NOT NULL)""",
    "CREATE INDEX alerts_incident ON alerts (incident)",
    "CREATE TABLE alert_keys (value TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (value, uid))",
    "CREATE INDEX alert_keys_uid ON alert_keys (uid)",
    """CREATE TABLE incidents (
        uid TEXT PRIMARY KEY, site TEXT NOT NULL, state TEXT NOT NULL, page BIGINT NOT NULL, settled BIGINT NOT NULL,
        suppressed BIGINT NOT NULL, severity BIGINT NOT NULL, flows BIGINT NOT NULL, opened_us BIGINT NOT NULL,
        first_us BIGINT NOT NULL, last_us BIGINT NOT NULL, kind TEXT NOT NULL, words TEXT NOT NULL)""",
    *(
        f"CREATE INDEX incidents_{key} ON incidents ({key}, uid)"
        for key in ("last_us", "first_us", "opened_us", "severity", "flows")
    ),
    # Counting reads nothing else; led by what no filter of a count asks for, so that who knows addresses starts there.
    "CREATE INDEX incidents_counts ON incidents (page, settled, suppressed, severity, state, site)",
    "CREATE INDEX incidents_kind ON incidents (site, kind)",
    # Apart from the columns that are filtered and sorted by, whose pages are then few.
    "CREATE TABLE documents (uid TEXT PRIMARY KEY, document TEXT NOT NULL)",
    """CREATE TABLE facets (
        kind TEXT NOT NULL, value TEXT NOT NULL, incident TEXT NOT NULL, PRIMARY KEY (kind, value, incident))""",
    "CREATE INDEX facets_incident ON facets (incident)",
    """CREATE TABLE scope_keys (
        value BIGINT NOT NULL, first_us BIGINT NOT NULL, incident TEXT NOT NULL,
        PRIMARY KEY (value, first_us, incident))""",
    "CREATE INDEX scope_keys_incident ON scope_keys (incident)",
    """CREATE TABLE verdicts (
        id TEXT PRIMARY KEY, site TEXT NOT NULL, at_us BIGINT NOT NULL, record TEXT NOT NULL)""",
    "CREATE TABLE verdict_uids (uid TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (uid, id))",
    "CREATE INDEX verdicts_site ON verdicts (site, at_us)",
    """CREATE TABLE notices (
        name TEXT PRIMARY KEY, site TEXT NOT NULL, sensor TEXT NOT NULL, number BIGINT NOT NULL, at_us BIGINT NOT NULL,
        partition_number BIGINT NOT NULL, message_offset BIGINT NOT NULL, written_us BIGINT NOT NULL,
        notice TEXT NOT NULL)""",
    "CREATE INDEX notices_sensor ON notices (site, sensor)",
    """CREATE TABLE changes (
        position BIGINT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL)""",
)
COPIED_TABLES = tuple(statement.split("(")[0].split()[2] for statement in COPIED if "TABLE" in statement)


def fact(connection: Connection, name: str) -> str | None:
    """A fact of the store."""
    rows = connection.execute("SELECT value FROM facts WHERE name = ?", (name,))
    return str(rows[0][0]) if rows else None


def set_fact(connection: Connection, name: str, value: str) -> None:
    """Note a fact."""
    sql = "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value"
    connection.execute(sql, (name, value))


def copies_made(connection: Connection) -> int:
    """How often the tables that are copied from topics were made: by this number a reader knows that they still are
    those whose positions it has.
    """
    return int(fact(connection, "copies made") or 0)


def prepare(database: Database, rebuild: bool = False) -> bool:
    """Make the tables that are missing; whether those copied from topics are new and empty.

    `rebuild` empties them. Failed where a later version of Forebay has written accounts here.
    """
    with database.writing() as connection:
        for statement in OWN:
            connection.execute(statement)
        own = fact(connection, "own version")
        if own is not None and int(own) > OWN_VERSION:
            raise Failed(
                f"the page's store: got version {own} of its accounts, expected at most {OWN_VERSION}; it was written "
                "by a later Forebay: use that one, or another folder with --data"
            )
        set_fact(connection, "own version", str(OWN_VERSION))
        if not rebuild and fact(connection, "copy version") == str(COPY_VERSION):
            return False
        for table in COPIED_TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        for statement in COPIED:
            connection.execute(statement)
        set_fact(connection, "copy version", str(COPY_VERSION))
        set_fact(connection, "copies made", str(copies_made(connection) + 1))
        return True
