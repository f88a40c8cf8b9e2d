"""The tables in docs/ that are generated from code and schemas: `make docs` writes them, a test compares.

A table lies between `<!-- table: NAME (make docs) -->` and `<!-- end -->`.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined
from typer.main import get_command

from models.lab.report.report import wrapped
from pipeline import errors
from pipeline.featurize.feature_set import FEATURE_SET
from pipeline.featurize.feature_sets import FEATURE_SETS
from pipeline.featurize.windows.ot_set import FULL
from pipeline.ingest.formats.functions import ACCESS, all_functions
from pipeline.ingest.reasons import REASONS
from pipeline.settings import Settings
from pipeline.tools.cli.main import NOUNS, module_of
from pipeline.tools.load.size import MEASURED
from schemas import fields
from schemas.sources import DERIVED, Source, sources
from schemas.topics import topics
from tests.contract.tree import ROOT
from tests.docs import performance, sizes
from tests.docs.performance import table as _table

TABLE_IN_PAGE = re.compile(r"(<!-- table: ([a-z0-9 -]+) \(make docs\) -->\n).*?(<!-- end -->)", re.DOTALL)
DAY_MS = 86_400_000


def _code(value: object) -> str:
    return f"`{value}`" if value not in ("", None) else ""


def settings() -> str:
    """Every setting: its variable, its default, its meaning."""
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = "" if default is PydanticUndefined or default in ("", {}, None) else default
        rows.append((_code(f"FOREBAY_{name.upper()}"), _code(shown), field.description or ""))
    return _table(("variable", "default", "meaning"), rows)


def every_command() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command of `forebay`: its words, noun first, and what runs."""

    def walk(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        verbs = getattr(command, "commands", {})
        if not verbs:
            yield words, command
        for name, verb in verbs.items():
            yield from walk((*words, name), verb)

    for noun in NOUNS:
        yield from walk((noun,), get_command(module_of(noun).app))


def commands() -> str:
    """Every command, with the first line of its help."""
    rows = []
    for words, command in every_command():
        arguments = [
            f"{argument.name.upper()}" for argument in command.params if argument.param_type_name == "argument"
        ]
        first = (command.help or "").strip().splitlines()[0]
        rows.append((_code(" ".join(["forebay", *words, *arguments])), first))
    return _table(("command", "what it does"), rows)


def exit_codes() -> str:
    """Every exit code, with its meaning."""
    rows: list[tuple[object, str]] = [(0, "fine")]
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    for code in sorted({kind.exit_code for kind in kinds if issubclass(kind, errors.ForebayError)}):
        texts = [
            (kind.__doc__ or "").strip()
            for kind in kinds
            if issubclass(kind, errors.ForebayError) and kind.exit_code == code and kind is not errors.ForebayError
        ]
        rows.append((code, " ".join(texts)))
    rows.append((130, "Stopped by a second signal before the work at hand was finished."))
    return _table(("exit code", "meaning"), rows)


def topic_table() -> str:
    """Every topic: its key, schema, retention, writers and readers."""
    rows = [
        (
            _code(topic.name),
            topic.key,
            topic.schema,
            "as many as `FOREBAY_PARTITIONS`" if topic.partitions == "data" else 1,
            "compacted"
            if topic.compacted
            else "for ever"
            if topic.retention_ms < 0
            else f"{topic.retention_ms // DAY_MS} d",
            ", ".join(filter(None, (topic.outside, *topic.writers))),
            ", ".join(topic.readers),
        )
        for topic in topics().values()
    ]
    return _table(("topic", "key", "value", "partitions", "retention", "writers", "readers"), rows)


def _range(field: fields.Field) -> str:
    if field.enum:
        return ", ".join(field.enum)
    if field.min is None and field.max is None:
        return ""
    return f"{'' if field.min is None else field.min} … {'' if field.max is None else field.max}"


def _fields(columns: Iterable[fields.Field]) -> str:
    rows = [
        (_code(field.name), field.type + ("?" if field.null else ""), field.unit, _range(field), field.doc)
        for field in columns
    ]
    return _table(("field", "type", "unit", "range", "meaning"), rows)


def flow() -> str:
    """The flow schema."""
    rows = [
        (
            _code(field.name),
            field.type + ("?" if field.null else ""),
            field.unit,
            _range(field),
            field.ipfix or "",
            field.doc,
        )
        for field in fields.load("flow").fields
    ]
    return _table(("field", "type", "unit", "range", "IPFIX", "meaning"), rows)


def _origin(source: Source, field: str) -> str:
    origin = source.origin(field)
    if origin is None:
        return "–"
    return DERIVED if origin.source == DERIVED else _code(origin.source)


def sources_matrix() -> str:
    """Every field of the flow schema that a source has, and where each has it."""
    every = sources()
    rows = [
        (_code(field.name), *(_origin(source, field.name) for source in every.values()))
        for field in fields.load("flow").fields
        if any(source.origin(field.name) for source in every.values())
    ]
    return _table(("field", *every), rows)


def source_tables() -> str:
    """A table for each source: what it is, and where each field comes from, in which unit."""
    units = {field.name: field.unit for field in fields.load("flow").fields}
    parts = []
    for name, source in sources().items():
        facts = (
            ("content types", ", ".join(_code(field) for field in source.content_types)),
            ("bytes count", source.bytes),
            ("a record is", source.direction),
            ("verified", source.verified),
        )
        rows = [
            (_code(field.flow), _origin(source, field.flow), field.unit, units[field.flow], field.note)
            for field in source.origins
        ]
        parts.append(f"## {source.title}\n\n`source_type` is `{source.name}`. {source.note}".rstrip() + "\n\n")
        parts.append(_table((name, ""), facts) + "\n")
        parts.append(_table(("field", "from", "its unit", "unit here", "note"), rows) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def functions() -> str:
    """The functions of industrial protocols: their numbers, names, and what each counts as."""
    parts = []
    for proto, table in all_functions().items():
        names: dict[int, list[str]] = {}
        for name, code in table.names.items():
            names.setdefault(code, []).append(name)
        rows = [
            (code, ", ".join(names[code]), ", ".join(word for word, bit in ACCESS.items() if bits & bit))
            for code, bits in table.access.items()
        ]
        parts.append(f"### {proto}\n\n{table.source}.\n\n{_table(('code', 'function', 'counts as'), rows)}")
    return "\n".join(parts)


def _own_fields(name: str, inherited: str) -> str:
    known = {field.name for field in fields.load(inherited).fields}
    return _fields(field for field in fields.load(name).fields if field.name not in known)


def feature_sets() -> str:
    """Every feature set: its name, version, columns, hash and purpose."""
    rows = [
        (
            _code(feature_set.name),
            feature_set.version,
            feature_set.width,
            _code(feature_set.hash[:16]),
            feature_set.about or "What the shipped model reads.",
        )
        for feature_set in FEATURE_SETS.values()
    ]
    return _table(("set", "version", "columns", "hash", "about"), rows)


def feature_tables() -> str:
    """A table for each set: its features, in the order of the matrix's columns, and its parameters."""
    parts = []
    for feature_set in (FULL, *(FEATURE_SETS[name] for name in ("online", "kdd-extractor", "kdd-nsl"))):
        rows = [
            (
                number,
                _code(each.name),
                each.label,
                each.unit,
                each.formula,
                each.window,
                each.source,
                each.scale,
            )
            for number, each in enumerate(feature_set.features)
        ]
        first = f"`{FEATURE_SET.name}` (columns 0–{FEATURE_SET.width - 1}) and " if feature_set is FULL else ""
        head = ("column", "feature", "in words", "unit", "formula", "window", "source", "scale")
        parameters = ", ".join(f"`{name}` {value:g}" for name, value in feature_set.parameters)
        parts.append(f"## {first}`{feature_set.name}`\n\n{_table(head, rows)}\nParameters: {parameters}.\n")
    return "\n".join(parts)


TABLES: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": commands,
    "exit codes": exit_codes,
    "topics": topic_table,
    "flow": flow,
    "sources": sources_matrix,
    "source tables": source_tables,
    "functions": functions,
    "reject": lambda: _fields(fields.load("reject").fields),
    "features": lambda: _own_fields("features", "flow"),
    "scored": lambda: _own_fields("scored", "features"),
    "feature sets": feature_sets,
    "feature tables": feature_tables,
    "reasons": lambda: _table(
        ("reason", "expected"), [(_code(code), expected) for code, expected in REASONS.items() if code]
    ),
    **performance.TABLES,
}


def pages() -> list[Path]:
    """The pages that hold tables."""
    return [
        path
        for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
        if TABLE_IN_PAGE.search(path.read_text(encoding="utf-8"))
    ]


def updated(text: str) -> str:
    """A page with its tables generated again."""

    def table(match: re.Match[str]) -> str:
        lines = TABLES[match[2]]().split("\n")
        return match[1] + "\n" + "\n".join(wrapped(lines)) + "\n" + match[3]

    return TABLE_IN_PAGE.sub(table, text)


def write_pages() -> None:
    """Write every page that holds tables, and what `forebay size` reads, anew; say of each whether it has changed."""
    for page in pages():
        before = page.read_text(encoding="utf-8")
        after = updated(before)
        page.write_text(after, encoding="utf-8")
        sys.stdout.write(f"{page.relative_to(ROOT)}: {'unchanged' if after == before else 'written'}\n")
    sys.stdout.write(f"{MEASURED.relative_to(ROOT)}: {'written' if sizes.write() else 'unchanged'}\n")


if __name__ == "__main__":
    write_pages()
