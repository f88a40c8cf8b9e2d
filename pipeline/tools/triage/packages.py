"""Which packages the page needs, and whether they are here: they come with an extra of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from pipeline.errors import Misconfigured

PACKAGES = ("argon2", "fastapi", "httpx", "joserfc", "psycopg", "starlette", "uvicorn")
INSTALL = "pip install '.[triage]'"


def missing() -> tuple[str, ...]:
    """The packages that are not installed; none of them is imported."""
    return tuple(name for name in PACKAGES if find_spec(name) is None)


@contextmanager
def packages(what: str = "the page") -> Iterator[None]:
    """Misconfigured where what is imported inside lacks one of them; `what` needs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = (error.name or "").partition(".")[0]
        if name not in PACKAGES:
            raise
        raise Misconfigured(
            f"{what}: got no package {name}, expected those of the page's extra; in the checkout: {INSTALL}"
        ) from error
