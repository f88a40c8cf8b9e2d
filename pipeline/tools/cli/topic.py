"""`forebay topic`: the topics of `schemas/topics.toml` in a cluster."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Column, Table

from pipeline.runtime.kafka import topics
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.settings_here import settings_here

app = typer.Typer(no_args_is_help=True, help="Kafka topics: create, check, list.")

Partitions = Annotated[
    int | None,
    typer.Option(
        "--partitions", min=1, help="Partitions of a data topic. [env: FOREBAY_PARTITIONS]", show_default=False
    ),
]


Sources = Annotated[
    str | None,
    typer.Option("--sources", help="YAML file of sources, whose topics are created too.", show_default=False),
]


@app.command()
def create(
    sources: Sources = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    partitions: Partitions = None,
    as_json: Json = False,
) -> None:
    """Create the topics that are missing, with explicit settings; those that exist are left alone."""
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, partitions=partitions, sources=sources)
    done = topics.create(settings)
    if sources is not None:
        more = topics.create_for_sources(settings)
        done = topics.Created(done.created + more.created, done.existing + more.existing)
    say(f"created {len(done.created)} topics at {settings.bootstrap}, {len(done.existing)} were there", quiet=as_json)
    emit({"bootstrap": settings.bootstrap, "created": done.created, "existing": done.existing})


@app.command()
def check(
    bootstrap: Bootstrap = None, prefix: Prefix = None, partitions: Partitions = None, as_json: Json = False
) -> None:
    """Compare the cluster with the table: missing topics, partition counts, settings. Exit 1 if anything differs."""
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix, partitions=partitions)
    differences = topics.check(settings)
    if differences:
        table = Table(
            Column("topic", no_wrap=True),
            "what",
            "got",
            "expected",
            title=f"{settings.bootstrap} differs from the table",
        )
        for each in differences:
            table.add_row(each.topic, each.setting, each.got, each.expected)
        say(table, quiet=as_json)
        if any(each.setting == "topic" for each in differences):
            say("`forebay topic create` makes the missing ones", quiet=as_json)
    else:
        say(f"all {len(topics.wanted(settings))} topics at {settings.bootstrap} are as the table says", quiet=as_json)
    emit(
        {
            "bootstrap": settings.bootstrap,
            "equal": not differences,
            "differences": [asdict(each) for each in differences],
        }
    )
    raise typer.Exit(1 if differences else 0)


@app.command("list")
def list_(bootstrap: Bootstrap = None, prefix: Prefix = None, as_json: Json = False) -> None:
    """The table's topics as the cluster has them: partitions, and how many records they hold."""
    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    described = topics.describe(settings)
    table = Table(Column("topic", no_wrap=True), "partitions", "records", "retained")
    for each in described:
        retention = "latest per key" if each.topic.compacted else retention_in_words(each.topic.retention_ms)
        count = str(each.partitions) if each.partitions else "missing"
        table.add_row(each.name, count, f"{each.records:,}", retention)
    say(table, quiet=as_json)
    emit(
        {
            "bootstrap": settings.bootstrap,
            "topics": [
                {
                    "name": each.name,
                    "partitions": each.partitions,
                    "records": each.records,
                    "writer": ", ".join(filter(None, (each.topic.outside, *each.topic.writers))),
                    "readers": each.topic.readers,
                    **each.configuration,
                }
                for each in described
            ],
        }
    )


def retention_in_words(retention_ms: int) -> str:
    """A retention in words."""
    return "for ever" if retention_ms < 0 else f"{retention_ms / 86_400_000:g} days"
