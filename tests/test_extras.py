"""What to install is said in the same words everywhere, and is right: in a checkout, too."""

from __future__ import annotations

import tomllib

import pytest

from tests.programs import ROOT, printed
from triosock import _extras

WITHOUT = """
import sys
sys.modules[{module!r}] = None
import trio
try:
    {use}
except ImportError as error:
    print(error)
"""


def test_the_packages_are_those_of_the_extras() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for extra, package in _extras.PACKAGES.items():
        assert extras[extra] == [package]


@pytest.mark.parametrize(
    ("module", "use", "says"),
    [
        (
            "prometheus_client",
            "import triosock.observe.metrics",
            "PrometheusObserver needs prometheus-client: python -m pip install 'prometheus-client>=0.20'",
        ),
        (
            "opentelemetry",
            "import triosock.observe.telemetry",
            "OpenTelemetryObserver needs opentelemetry-api: python -m pip install 'opentelemetry-api>=1.30'",
        ),
        (
            "OpenSSL",
            "import triosock.dtls; trio.run(lambda: triosock.dtls.serve_dtls(print, 0, context=None))",
            "serve_dtls() needs pyopenssl: python -m pip install 'pyopenssl>=24'",
        ),
        (
            "service_identity",
            "import triosock.identity; triosock.identity.check_client(None, 'a')",
            "check_client() needs service-identity: python -m pip install 'service-identity>=24.1'",
        ),
        (
            "h11",
            "import triosock; trio.run(triosock.serve_health, 'tcp://127.0.0.1:0')",
            "health needs h11: python -m pip install 'h11>=0.14'",
        ),
    ],
)
def test_each_says_its_package(module: str, use: str, says: str) -> None:
    said = printed("-c", WITHOUT.format(module=module, use=use))
    assert said.startswith(f"{says} (or triosock with the extra ")


def test_what_is_missing_for_another_reason_is_not_explained_away() -> None:
    error = ModuleNotFoundError("No module named 'mine'", name="mine")
    assert _extras.missing(error, "metrics", "metrics", "prometheus_client") is error
