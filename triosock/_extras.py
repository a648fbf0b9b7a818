"""What to install for what needs another package: one text for all, which is right in a checkout, too.

It imports nothing of this library, for a compat server says it without trio.
"""

from __future__ import annotations

from typing import Final

#: The package of each extra, as pyproject.toml has it.
PACKAGES: Final = {
    "dtls": "pyopenssl>=24",
    "green": "greenlet>=3.1",
    "health": "h11>=0.14",
    "identity": "service-identity>=24.1",
    "metrics": "prometheus-client>=0.20",
    "opentelemetry": "opentelemetry-api>=1.30",
}


def what_to_install(what: str, extra: str) -> str:
    """Return the sentence that says which package `what` needs, and how it is installed."""
    package = PACKAGES[extra]
    name = package.partition(">=")[0]
    return f"{what} needs {name}: python -m pip install '{package}' (or triosock with the extra {extra!r})"


def missing(error: ModuleNotFoundError, what: str, extra: str, *modules: str) -> ModuleNotFoundError:
    """Return what is to be raised instead of `error`, from an import of one of these modules."""
    if (error.name or "").partition(".")[0] not in modules:
        return error  # what is missing is something else
    return ModuleNotFoundError(what_to_install(what, extra), name=error.name)
