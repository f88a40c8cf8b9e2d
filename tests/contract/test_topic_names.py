"""Topics are named in schemas/topics.toml and nowhere else."""

import ast
import re
from collections.abc import Iterator

import pytest

from schemas.topics import topics
from tests.contract.tree import modules, relative, show
from tests.docs.tables import every_command

# Calls whose arguments name a topic: in them no string may end in one of the table's names.
NAMES_A_TOPIC = {
    "assign", "channel", "create_topics", "get_watermark_offsets", "list_topics", "NewTopic", "produce", "send",
    "send_and_wait", "subscribe", "topic", "TopicPartition", "TP",
}  # fmt: skip
# These are words of nothing else; the others (`raw`, `archive`) are words of the code too.
UNMISTAKABLE = {name for name in topics() if "-" in name}


def _last_word(text: str) -> str:
    return re.split(r"[.\s/]", text)[-1]


def _strings(node: ast.AST) -> Iterator[tuple[str, int]]:
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value, child.lineno


def _docstrings(nodes: list[ast.AST]) -> set[int]:
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {
        id(node.body[0].value)
        for node in nodes
        if isinstance(node, holders) and node.body and isinstance(node.body[0], ast.Expr)
    }


def _span_attributes(nodes: list[ast.AST]) -> set[int]:
    """`span.set("forebay.alerts", n)` names an attribute."""
    return {
        id(node.args[0])
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "set" and node.args
    }


def topic_literals(tree: ast.AST) -> list[tuple[str, int]]:
    """Every literal that spells a topic's name: (text, line)."""
    nodes = list(ast.walk(tree))
    names, ignored = set(topics()), _docstrings(nodes) | _span_attributes(nodes)
    literals: list[tuple[str, int]] = []
    for node in nodes:
        if isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if function in NAMES_A_TOPIC:
                # The topic comes first, or by keyword; a message's value and headers may hold any word.
                named = [word.value for word in node.keywords if word.arg in {"topic", "topics"}]
                literals += [
                    (text, line) for part in [*node.args[:1], *named] for text, line in _strings(part)
                    if _last_word(text) in names
                ]  # fmt: skip
        elif isinstance(node, ast.JoinedStr | ast.BinOp):
            # "prefix + name" by hand, where `settings.topics.<name>` does it.
            if "prefix" in ast.unparse(node):
                literals += [(text, line) for text, line in _strings(node) if _last_word(text) in names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in ignored:
            spelt = re.fullmatch(r"forebay\.(.+)", node.value)
            if node.value in UNMISTAKABLE or (spelt is not None and spelt[1] in names):
                literals.append((node.value, node.lineno))
    return literals


def test_topics_are_named_in_one_place() -> None:
    scanned, broken = [], []
    for module in modules():
        scanned.append(module.name)
        broken += [f"{relative(module.path)}:{line}: {text!r}" for text, line in topic_literals(module.tree)]
    assert len(scanned) > 20
    assert not broken, show(scanned, broken)


@pytest.mark.parametrize(
    "source",
    [
        "consumer.subscribe(['raw'])",
        "producer.produce('plant7.flows', value=b'')",
        "producer.produce(topic=f'{prefix}alerts')",
        "app.topic('features')",
        "TopicPartition('forebay.suspects', 0)",
        "name = settings.topic_prefix + 'archive'",
        "name = f'{settings.topic_prefix}retrain'",
        "STATE = 'featurize-state'",
        "x = {'forebay.models': 1}",
    ],
)
def test_a_spelt_name_is_found(source: str) -> None:
    assert topic_literals(ast.parse(source))


@pytest.mark.parametrize(
    "source",
    [
        "consumer.subscribe([settings.topics.raw])",
        "matrix(batch, 'features')",
        "'''forebay.raw is where it starts'''",
        "producer.produce(settings.topics.raw, headers=[('flows', b'1')])",
        "topics()['raw']",
        "span.set('forebay.alerts', 3)",
    ],
)
def test_a_word_is_not_a_name(source: str) -> None:
    assert not topic_literals(ast.parse(source))


def test_writers_and_readers_are_commands() -> None:
    """What the table says of who writes and reads a topic can be run; who is none of us stands apart."""
    known = {" ".join(words) for words, _ in every_command()}
    assert {"ingest run", "alert tail"} <= known
    unknown = {
        f"{name}: {command}"
        for name, topic in topics().items()
        for command in (*topic.writers, *topic.readers)
        if command not in known
    }
    assert not unknown, "schemas/topics.toml names commands that do not exist"


@pytest.mark.parametrize(
    ("outer", "inner"),
    [("retrain run", "retrain now"), ("retrain run", "retrain fit"), ("triage serve", "alert verdict")],
)
def test_who_does_what_a_command_does_is_in_the_table_too(outer: str, inner: str) -> None:
    """Retrain starts these commands under its own principal, and a verdict of the page is sent as the command sends it.

    ACLs are made from this table. The page has alerts, verdicts and names in its store, so it reads them as well.
    """
    lacking = {
        f"{name}: {role}"
        for name, topic in topics().items()
        for role, commands in (("writers", topic.writers), ("readers", topic.readers))
        if inner in commands and outer not in commands
    }
    assert not lacking, f"{outer} does there what {inner} does"


def test_the_table_is_whole() -> None:
    assert len(topics()) >= 12
    for name, topic in topics().items():
        assert re.fullmatch(r"[a-z-]+", name)
        assert topic.key and topic.schema and topic.writers and topic.readers, name
        assert topic.partitions in {"data", "one"}, name
