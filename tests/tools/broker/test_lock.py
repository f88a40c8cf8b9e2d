import pytest

from pipeline.errors import BadData
from pipeline.tools.broker import lock

SHA = "ab" * 32
GOOD = f'kafka = "4.3.1"\n[[jar]]\ncoordinate = "g:a:1"\nsha256 = "{SHA}"\nsize_bytes = 3\n'


def test_the_shipped_lock_pins_every_jar_and_names_no_address() -> None:
    shipped = lock.load()
    assert shipped.kafka_version.startswith("4.")
    names = [jar.file_name for jar in shipped.jars]
    assert f"kafka_2.13-{shipped.kafka_version}.jar" in names
    assert f"kafka-clients-{shipped.kafka_version}.jar" in names
    assert any(name.startswith("log4j-slf4j-impl") for name in names)
    assert "://" not in lock.render(shipped)


def test_a_lock_reads_back_as_it_was_written() -> None:
    shipped = lock.load()
    assert lock.parse(lock.render(shipped)) == shipped


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (SHA, SHA[:-1], "sha256"),
        (SHA, SHA.upper(), "sha256"),
        ("g:a:1", "g:a", "coordinate"),
        ("g:a:1", "g:../../a:1", "coordinate"),
        ("g:a:1", "g:a/b:1", "coordinate"),
        ("g:a:1", "g:.a:1", "coordinate"),
        ("size_bytes = 3", "size_bytes = 0", "size_bytes"),
        ("size_bytes = 3", "size_bytes = true", "size_bytes"),
        ("size_bytes = 3", "size_bytes = 3\nurl = 'x'", "exactly"),
        ('kafka = "4.3.1"', "kafka = 4", "version"),
        ("[[jar]]", "[jar]", "entries"),
        ('kafka = "4.3.1"', 'kafka = "4.3.1', "TOML"),
    ],
)
def test_a_lock_that_is_not_one_is_refused_by_name(old: str, new: str, named: str) -> None:
    with pytest.raises(BadData, match=named):
        lock.parse(GOOD.replace(old, new))


def test_a_jar_listed_twice_is_refused() -> None:
    entry = GOOD[GOOD.index("[[jar]]") :]
    with pytest.raises(BadData, match=r"a-1\.jar listed twice"):
        lock.parse(GOOD + entry.replace('"g:a:1"', '"other:a:1"'))
