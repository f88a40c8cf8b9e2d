"""Where the tables lie and which catalog knows them; and the lock that lets one committer in."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchPropertyException, NotInstalledError, RESTError
from sqlalchemy.exc import SQLAlchemyError

from pipeline.archive.iceberg import synced_io
from pipeline.errors import Failed, Misconfigured
from pipeline.runtime.files import make_folder
from pipeline.runtime.locks import HOLDER, exclusive

CATALOG = "forebay"
LOCK, DATABASE = "committer.lock", "catalog.db"
BUSY_S = 60
NOT_IN_A_URI = "%?#"
S3 = {"endpoint": "s3.endpoint", "region": "s3.region"}
VIRTUAL_HOSTED = "virtual_hosted_style_request"


@contextmanager
def opened(warehouse: str, overrides: Mapping[str, str]) -> Iterator[Catalog]:
    """The catalog of a warehouse (a folder, or s3://bucket/prefix with the archive's options); `overrides` goes first.

    A folder has its own in SQLite unless `overrides` names another; a bucket cannot hold one.
    """
    properties = {**_properties(warehouse, overrides), **overrides}
    with _our_errors(warehouse):
        try:
            catalog = load_catalog(CATALOG, **properties)
        except (ValueError, NoSuchPropertyException, NotInstalledError) as error:
            raise Misconfigured(f"catalog of warehouse {warehouse}: {_first_line(error)}; see --property") from error
        try:
            yield catalog
        finally:
            catalog.close()


@contextmanager
def _our_errors(warehouse: str) -> Iterator[None]:
    """Turn errors of a catalog or of storage into ours."""
    try:
        yield
    except (OSError, RESTError, SQLAlchemyError) as error:
        raise Failed(
            f"warehouse {warehouse}: {_first_line(error)}; make sure that it and its catalog can be reached and have "
            "room, and start again: nothing was lost, it continues from what is committed"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]


def _properties(warehouse: str, overrides: Mapping[str, str]) -> dict[str, str]:
    scheme, slashes, _ = warehouse.partition("://")
    if slashes and scheme == "s3":
        return _of_bucket(warehouse, overrides)
    if slashes and scheme != "file":
        raise Misconfigured(f"warehouse {warehouse}: got scheme {scheme!r}, expected a folder or s3://bucket/prefix")
    folder = folder_of(warehouse)
    if folder is None or any(character in str(folder) for character in NOT_IN_A_URI):
        raise Misconfigured(f"warehouse {warehouse}: expected a folder whose name has none of {NOT_IN_A_URI}")
    properties = {"warehouse": f"file://{folder}", "py-io-impl": synced_io.NAME}
    if not overrides.keys() & {"type", "uri", "py-catalog-impl"}:
        make_folder(folder)
        properties |= {"type": "sql", "uri": f"sqlite:///{folder / DATABASE}?timeout={BUSY_S}"}
    return properties


def _of_bucket(warehouse: str, overrides: Mapping[str, str]) -> dict[str, str]:
    parts = urlsplit(warehouse)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(set(options) - {*S3, VIRTUAL_HOSTED})
    if unknown or not parts.netloc:
        wrong = f"option {unknown[0]!r}" if unknown else "no bucket"
        raise Misconfigured(
            f"warehouse {warehouse}: got {wrong}, expected s3://bucket/prefix, with options among "
            f"{', '.join((*S3, VIRTUAL_HOSTED))}"
        )
    if not overrides.keys() & {"type", "uri", "py-catalog-impl"}:
        raise Misconfigured(
            f"warehouse {warehouse}: a bucket holds no catalog of its own; name one, for example with "
            "--property type=rest --property uri=http://…, or --property uri=sqlite:///folder/catalog.db"
        )
    return {
        "warehouse": f"s3://{parts.netloc}{parts.path.rstrip('/')}",
        "s3.force-virtual-addressing": options.get(VIRTUAL_HOSTED, "false"),
        **{S3[name]: value for name, value in options.items() if name in S3},
    }


def folder_of(warehouse: str) -> Path | None:
    """The folder a warehouse is; None where it is a bucket."""
    scheme, slashes, rest = warehouse.partition("://")
    if slashes and scheme != "file":
        return None
    return Path(rest.removeprefix("localhost") if slashes else warehouse).absolute()


@contextmanager
def single_committer(warehouse: str) -> Iterator[None]:
    """Keep other committers out of a folder; Failed says who holds it.

    A bucket has none: there, and where somebody gets past
    the lock, the position in the table decides (pipeline/archive/iceberg/copy.py).
    """
    folder = folder_of(warehouse)
    if folder is None:
        yield
        return
    make_folder(folder)
    busy = f"warehouse {warehouse}: {HOLDER} commits to it; one committer is enough: stop it, or leave the work to it"
    with exclusive(folder / LOCK, 0, busy):
        yield
