"""Which packages, and which of their tests.

Only tests that come with a package's sdist are run, and of large suites only the files in which something is
served. A test that fails on both sides stays in: for most of them there is no network, or no other program
that they want. It is counted on neither side. A package none of whose tests starts a server is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs


@attrs.frozen
class Package:
    """One package of the table.

    Attributes:
        name: as PyPI has it.
        version: exactly this one.
        what: what of socketserver it uses.
        tests: files or folders in the sdist, for pytest; the whole command after `python` for unittest. It is
            split into words.
        needs: what pip installs beside it. It is split into words, too.
        extras: of the package itself.
        keyword: pytest's -k.
        cwd: where in the sdist to start.
        importable: whether the source in the sdist comes before what is installed. Not for what is compiled.
        runner: "pytest", or "unittest" for what only its own runner can start.
        environment: variables for its tests.
        within: seconds for one run.
    """

    name: str
    version: str
    what: str
    tests: list[str] = attrs.field(converter=str.split)
    needs: list[str] = attrs.field(converter=str.split, default="")
    extras: str = ""
    keyword: str = ""
    cwd: str = "."
    importable: bool = True
    runner: str = "pytest"
    environment: Mapping[str, str] = attrs.field(factory=dict)
    within: float = 240.0

    @property
    def requirements(self) -> list[str]:
        """What pip is asked to install."""
        extras = f"[{self.extras}]" if self.extras else ""
        return [f"{self.name}{extras}=={self.version}", "pytest<9", *self.needs]

    def command(self, bin: Path, xml: Path) -> list[str]:
        """Return what runs the tests, and writes their outcomes to `xml`."""
        if self.runner == "unittest":
            return [str(bin / "python"), *self.tests]
        pytest = [str(bin / "python"), "-m", "pytest"] if self.importable else [str(bin / "pytest")]
        options = ["-o", "addopts=", "-o", "junit_family=xunit1", "-q", "-rfE", f"--junitxml={xml}"]
        return [*pytest, *options, *(["-k", self.keyword] if self.keyword else []), *self.tests]


PACKAGES = (
    Package("hl7apy", "1.3.5", "TCPServer with threads", tests="tests/test_mllp.py"),
    Package("epc", "0.0.5", "TCPServer with and without threads", tests="epc/tests", needs="pynose"),
    Package("irc", "20.5.0", "an IRC server with threads", tests="irc/tests"),
    Package(
        "coilmq",
        "1.1.0",
        "a STOMP server with threads",
        tests="tests",
        needs="sqlalchemy<2 typing_extensions redis fakeredis",
    ),
    Package(
        "paho-mqtt",
        "2.2.0",
        "brokers that its tests bring",
        tests="tests/test_websocket_integration.py tests/test_mqttv5.py tests/test_client.py",
        importable=False,
    ),
    Package(
        "python-jenkins",
        "1.8.3",
        "TCPServer in a process",
        tests=(
            "-m unittest -v tests.jobs.test_config tests.test_jenkins tests.test_jenkins_sockets "
            "tests.test_version"
        ),
        needs="testscenarios testtools requests-mock fixtures multiprocess",
        runner="unittest",
    ),
    Package(
        "warcprox",
        "2.13.1",
        "a proxy with a pool of threads",
        tests="tests/test_warcprox.py",
        needs="mock warcio pyopenssl requests",
    ),
    Package("gallery-dl", "1.32.18", "HTTPServer", tests="test/test_downloader.py"),
    Package(
        "python-glanceclient",
        "4.13.0",
        "TCPServer with threads, TLS in get_request",
        tests="glanceclient/tests/unit/test_ssl.py",
        needs="testtools fixtures requests-mock ddt testscenarios tempest",
    ),
    Package(
        "roundup",
        "2.6.0",
        "wsgiref, an HTTPServer that forks",
        tests="test/test_liveserver.py test/test_xmlrpc.py",
        needs="requests mock pytz pytest-subtests",
    ),
    Package("restview", "3.0.2", "HTTPServer", tests="src/restview/tests.py", needs="mock"),
    Package(
        "thriftpy2",
        "0.7.1",
        "HTTPServer",
        tests="test_http.py",
        needs="pytest-reraise pytest-asyncio tornado",
        cwd="tests",
        importable=False,
    ),
    Package(
        "avro",
        "1.12.2",
        "HTTPServer in child processes",
        tests=(
            "avro/test/test_tether_task.py avro/test/test_tether_task_runner.py "
            "avro/test/test_tether_word_count.py avro/test/test_ipc.py"
        ),
        within=400,
    ),
    Package("google-auth-oauthlib", "1.5.0", "wsgiref", tests="tests", needs="mock click"),
    Package(
        "pytest-django",
        "4.14.0",
        "Django's live server with threads",
        tests="tests/test_fixtures.py tests/test_urls.py",
        needs="django django-configurations",
        keyword="LiveServer or live_server or urls",
        environment={"DJANGO_SETTINGS_MODULE": "pytest_django_test.settings_sqlite"},
    ),
    Package(
        "python-socketio",
        "5.18.1",
        "wsgiref with threads",
        tests="tests/common/test_admin.py",
        needs="simple-websocket requests websocket-client msgpack",
    ),
    Package(
        "ckanapi",
        "4.11",
        "wsgiref in a child process",
        tests="ckanapi/tests",
        needs="pyfakefs docopt werkzeug",
    ),
    Package("pytest-remotedata", "0.4.2", "HTTPServer", tests="tests"),
    Package("pytest-httpbin", "2.1.0", "wsgiref, with TLS", tests="tests", needs="requests"),
    Package(
        "pytest-localserver", "0.10.0.post0", "werkzeug's servers", tests="tests", needs="requests aiosmtpd"
    ),
    Package("Flask-Testing", "0.8.1", "TCPServer", tests="tests", needs="flask<2.3 werkzeug<2.1 blinker"),
    Package("h11", "0.16.0", "TCPServer and http.server", tests="h11/tests/test_against_stdlib_http.py"),
    Package(
        "easynetwork",
        "1.2.0",
        "all four kinds",
        tests="tests/functional_test/test_communication/test_sync/test_client",
        needs=(
            "pytest-asyncio pytest-mock pytest-retry pytest-trio trustme pytest-timeout pytest-xdist sniffio"
        ),
    ),
    Package("WebOb", "1.8.11", "wsgiref", tests="tests/test_in_wsgiref.py tests/test_client_functional.py"),
    Package("Paste", "3.10.1", "HTTPServer with a pool of threads", tests="tests"),
    Package(
        "crate",
        "2.3.0",
        "HTTPServer in threads and processes",
        tests="tests/client",
        needs="pytz verlib2 backports.zoneinfo;python_version<'3.9' certifi",
    ),
    Package(
        "vcrpy",
        "9.4.2",
        "TCPServer and HTTPServer",
        tests=(
            "tests/integration/test_proxy.py tests/integration/test_wild.py tests/integration/test_basic.py"
        ),
        needs="httpbin requests pytest-httpbin pytest-asyncio pytest-aiohttp",
    ),
    Package(
        "falcon",
        "4.4.0",
        "wsgiref in a process",
        tests="tests/test_wsgi.py tests/test_wsgi_servers.py",
        needs="requests testtools",
        importable=False,
    ),
    Package(
        "astropy",
        "8.0.2",
        "SimpleXMLRPCServer with and without threads",
        tests="--pyargs astropy.samp --remote-data=any",
        needs="pytest-astropy",
        cwd="docs",
        importable=False,
    ),
    Package(
        "sphinx",
        "9.0.4",
        "HTTPServer with and without TLS",
        tests="tests/test_builders/test_build_linkcheck.py tests/test_ext_intersphinx",
        needs="defusedxml psutil html5lib",
        extras="test",
        importable=False,
    ),
    Package(
        "Django",
        "5.2.19",
        "wsgiref with threads",
        tests="runtests.py servers builtin_server -v 2 --parallel 1",
        cwd="tests",
        importable=False,
        runner="unittest",
    ),
    Package(
        "geopy",
        "2.5.0",
        "HTTPServer with threads as a proxy",
        tests="-o asyncio_mode=auto test/adapters/each_adapter.py",
        needs="async_generator pytest-asyncio aiohttp requests pytz",
    ),
    Package("youtube_dl", "2021.12.17", "HTTPServer", tests="test/test_http.py"),
    Package(
        "mapproxy",
        "7.0.0",
        "HTTPServer with threads",
        tests=(
            "mapproxy/test/test_http_helper.py mapproxy/test/unit/test_client.py "
            "mapproxy/test/unit/test_cache.py mapproxy/test/unit/test_auth.py "
            "mapproxy/test/system/test_seed.py mapproxy/test/system/test_wms.py "
            "mapproxy/test/system/test_renderd_client.py mapproxy/test/system/test_arcgis.py"
        ),
        needs="requests WebTest lxml",
    ),
    Package("pdoc", "16.0.0", "HTTPServer", tests="test/test_web.py test/test_main.py", needs="hypothesis"),
)
