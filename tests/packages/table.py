"""Which packages, and which of their tests.

Only tests that come with a package's sdist are run, and of large suites only the files in which something is
served. A test that fails on both sides stays in: for most of them there is no network, or no other program
that they want. It is counted on neither side. A package none of whose tests starts a server is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Package:
    """One package of the table.

    Attributes:
        name: as PyPI has it.
        version: exactly this one.
        what: what of socketserver it uses.
        tests: files or folders in the sdist, for pytest; the whole command after `python` for unittest.
        needs: what pip installs beside it.
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
    tests: tuple[str, ...]
    needs: tuple[str, ...] = ()
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
    Package(name="hl7apy", version="1.3.5", what="TCPServer with threads", tests=("tests/test_mllp.py",)),
    Package(
        name="epc",
        version="0.0.5",
        what="TCPServer with and without threads",
        tests=("epc/tests",),
        needs=("pynose",),
    ),
    Package(name="irc", version="20.5.0", what="an IRC server with threads", tests=("irc/tests",)),
    Package(
        name="coilmq",
        version="1.1.0",
        what="a STOMP server with threads",
        tests=("tests",),
        needs=("sqlalchemy<2", "typing_extensions", "redis", "fakeredis"),
    ),
    Package(
        name="paho-mqtt",
        version="2.2.0",
        what="brokers that its tests bring",
        tests=("tests/test_websocket_integration.py", "tests/test_mqttv5.py", "tests/test_client.py"),
        importable=False,
    ),
    Package(
        name="python-jenkins",
        version="1.8.3",
        what="TCPServer in a process",
        tests=(
            "-m",
            "unittest",
            "-v",
            "tests.jobs.test_config",
            "tests.test_jenkins",
            "tests.test_jenkins_sockets",
            "tests.test_version",
        ),
        runner="unittest",
        needs=("testscenarios", "testtools", "requests-mock", "fixtures", "multiprocess"),
    ),
    Package(
        name="warcprox",
        version="2.13.1",
        what="a proxy with a pool of threads",
        tests=("tests/test_warcprox.py",),
        needs=("mock", "warcio", "pyopenssl", "requests"),
    ),
    Package(name="gallery-dl", version="1.32.18", what="HTTPServer", tests=("test/test_downloader.py",)),
    Package(
        name="python-glanceclient",
        version="4.13.0",
        what="TCPServer with threads, TLS in get_request",
        tests=("glanceclient/tests/unit/test_ssl.py",),
        needs=("testtools", "fixtures", "requests-mock", "ddt", "testscenarios", "tempest"),
    ),
    Package(
        name="roundup",
        version="2.6.0",
        what="wsgiref, an HTTPServer that forks",
        tests=("test/test_liveserver.py", "test/test_xmlrpc.py"),
        needs=("requests", "mock", "pytz", "pytest-subtests"),
    ),
    Package(
        name="restview", version="3.0.2", what="HTTPServer", tests=("src/restview/tests.py",), needs=("mock",)
    ),
    Package(
        name="thriftpy2",
        version="0.7.1",
        what="HTTPServer",
        tests=("test_http.py",),
        cwd="tests",
        needs=("pytest-reraise", "pytest-asyncio", "tornado"),
        importable=False,
    ),
    Package(
        name="avro",
        version="1.12.2",
        what="HTTPServer in child processes",
        tests=(
            "avro/test/test_tether_task.py",
            "avro/test/test_tether_task_runner.py",
            "avro/test/test_tether_word_count.py",
            "avro/test/test_ipc.py",
        ),
        within=400,
    ),
    Package(
        name="google-auth-oauthlib",
        version="1.5.0",
        what="wsgiref",
        tests=("tests",),
        needs=("mock", "click"),
    ),
    Package(
        name="pytest-django",
        version="4.14.0",
        what="Django's live server with threads",
        tests=("tests/test_fixtures.py", "tests/test_urls.py"),
        keyword="LiveServer or live_server or urls",
        needs=("django", "django-configurations"),
        environment={"DJANGO_SETTINGS_MODULE": "pytest_django_test.settings_sqlite"},
    ),
    Package(
        name="python-socketio",
        version="5.18.1",
        what="wsgiref with threads",
        tests=("tests/common/test_admin.py",),
        needs=("simple-websocket", "requests", "websocket-client", "msgpack"),
    ),
    Package(
        name="ckanapi",
        version="4.11",
        what="wsgiref in a child process",
        tests=("ckanapi/tests",),
        needs=("pyfakefs", "docopt", "werkzeug"),
    ),
    Package(name="pytest-remotedata", version="0.4.2", what="HTTPServer", tests=("tests",)),
    Package(
        name="pytest-httpbin",
        version="2.1.0",
        what="wsgiref, with TLS",
        tests=("tests",),
        needs=("requests",),
    ),
    Package(
        name="pytest-localserver",
        version="0.10.0.post0",
        what="werkzeug's servers",
        tests=("tests",),
        needs=("requests", "aiosmtpd"),
    ),
    Package(
        name="Flask-Testing",
        version="0.8.1",
        what="TCPServer",
        tests=("tests",),
        needs=("flask<2.3", "werkzeug<2.1", "blinker"),
    ),
    Package(
        name="h11",
        version="0.16.0",
        what="TCPServer and http.server",
        tests=("h11/tests/test_against_stdlib_http.py",),
    ),
    Package(
        name="easynetwork",
        version="1.2.0",
        what="all four kinds",
        tests=("tests/functional_test/test_communication/test_sync/test_client",),
        needs=(
            "pytest-asyncio",
            "pytest-mock",
            "pytest-retry",
            "pytest-trio",
            "trustme",
            "pytest-timeout",
            "pytest-xdist",
            "sniffio",
        ),
    ),
    Package(
        name="WebOb",
        version="1.8.11",
        what="wsgiref",
        tests=("tests/test_in_wsgiref.py", "tests/test_client_functional.py"),
    ),
    Package(name="Paste", version="3.10.1", what="HTTPServer with a pool of threads", tests=("tests",)),
    Package(
        name="crate",
        version="2.3.0",
        what="HTTPServer in threads and processes",
        tests=("tests/client",),
        needs=("pytz", "verlib2", "backports.zoneinfo; python_version<'3.9'", "certifi"),
    ),
    Package(
        name="vcrpy",
        version="9.4.2",
        what="TCPServer and HTTPServer",
        tests=(
            "tests/integration/test_proxy.py",
            "tests/integration/test_wild.py",
            "tests/integration/test_basic.py",
        ),
        needs=("httpbin", "requests", "pytest-httpbin", "pytest-asyncio", "pytest-aiohttp"),
    ),
    Package(
        name="falcon",
        version="4.4.0",
        what="wsgiref in a process",
        tests=("tests/test_wsgi.py", "tests/test_wsgi_servers.py"),
        needs=("requests", "testtools"),
        importable=False,
    ),
    Package(
        name="astropy",
        version="8.0.2",
        what="SimpleXMLRPCServer with and without threads",
        tests=("--pyargs", "astropy.samp", "--remote-data=any"),
        needs=("pytest-astropy",),
        importable=False,
        cwd="docs",
    ),
    Package(
        name="sphinx",
        version="9.0.4",
        what="HTTPServer with and without TLS",
        tests=("tests/test_builders/test_build_linkcheck.py", "tests/test_ext_intersphinx"),
        extras="test",
        needs=("defusedxml", "psutil", "html5lib"),
        importable=False,
    ),
    Package(
        name="Django",
        version="5.2.19",
        what="wsgiref with threads",
        tests=("runtests.py", "servers", "builtin_server", "-v", "2", "--parallel", "1"),
        cwd="tests",
        runner="unittest",
        importable=False,
    ),
    Package(
        name="geopy",
        version="2.5.0",
        what="HTTPServer with threads as a proxy",
        tests=("-o", "asyncio_mode=auto", "test/adapters/each_adapter.py"),
        needs=("async_generator", "pytest-asyncio", "aiohttp", "requests", "pytz"),
    ),
    Package(name="youtube_dl", version="2021.12.17", what="HTTPServer", tests=("test/test_http.py",)),
    Package(
        name="mapproxy",
        version="7.0.0",
        what="HTTPServer with threads",
        tests=(
            "mapproxy/test/test_http_helper.py",
            "mapproxy/test/unit/test_client.py",
            "mapproxy/test/unit/test_cache.py",
            "mapproxy/test/unit/test_auth.py",
            "mapproxy/test/system/test_seed.py",
            "mapproxy/test/system/test_wms.py",
            "mapproxy/test/system/test_renderd_client.py",
            "mapproxy/test/system/test_arcgis.py",
        ),
        needs=("requests", "WebTest", "lxml"),
    ),
    Package(
        name="pdoc",
        version="16.0.0",
        what="HTTPServer",
        tests=("test/test_web.py", "test/test_main.py"),
        needs=("hypothesis",),
    ),
)
