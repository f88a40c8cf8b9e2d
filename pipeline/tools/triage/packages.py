"""Which packages the page needs, and whether they are here: they come with an extra of their own."""

from importlib.util import find_spec

PACKAGES = ("argon2", "fastapi", "httpx", "joserfc", "psycopg", "starlette", "uvicorn")
INSTALL = "pip install '.[triage]'"


def missing() -> tuple[str, ...]:
    """The packages that are not installed; none of them is imported."""
    return tuple(name for name in PACKAGES if find_spec(name) is None)
