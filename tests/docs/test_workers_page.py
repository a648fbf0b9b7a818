"""The page on workers: what it shows is checked by the programs that it is for."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.docs.units import CODE, DEPLOY, DOCS, complaints
from tests.programs import check_drain, running, server_program

SHOP = "from benchmarks.restart.servers import serve_http, serve_lines\n"


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_configuration_has_no_mistake(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    words = ["-m", "triosock", "serve", "--config", DEPLOY / "shop.toml", "--check"]
    with running(*words, PYTHONPATH=f"{tmp_path}:{DOCS.parent}") as program:
        assert program.wait() == 0
        assert "no mistake found" in program.output


def test_systemd_understands_the_units(tmp_path):
    said = complaints(tmp_path, "shop.service", "shop.socket")
    assert [line for line in said if "WorkingDirectory" not in line] == []


def test_the_service_manager_is_more_patient_than_the_service():
    unit = (DEPLOY / "shop.service").read_text()
    config = (DEPLOY / "shop.toml").read_text()
    grace, delay = (int(re.search(rf"^{key} = (\d+)", config, re.M)[1]) for key in ("grace", "delay"))
    assert int(re.search(r"TimeoutStopSec=(\d+)", unit)[1]) > delay + grace + 5
    pod = (DEPLOY / "shop.yaml").read_text()
    grace, wait = (int(re.search(found, pod)[1]) for found in (r'"--grace", "(\d+)"', r'"--delay", "(\d+)"'))
    assert int(re.search(r"terminationGracePeriodSeconds: (\d+)", pod)[1]) > grace + wait + 5
    assert f"--time {grace + 10}" in (DEPLOY / "Dockerfile").read_text()


def test_haproxy_understands_its_file():
    subprocess.run([tool("haproxy"), "-c", "-f", DEPLOY / "haproxy.cfg"], check=True, capture_output=True)


def test_nginx_understands_its_file(tmp_path):
    text = f"pid {tmp_path}/pid;\nerror_log stderr;\n" + (DEPLOY / "nginx.conf").read_text()
    (tmp_path / "nginx.conf").write_text(text)
    command = [tool("nginx"), "-t", "-p", tmp_path, "-c", tmp_path / "nginx.conf"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["Dockerfile", "shop.yaml"])
def test_the_commands_of_containers_are_commands(name, tmp_path):
    from triosock.cli import make_parser

    line = re.search(r"(?:ENTRYPOINT|command:) (\[\"python\".*\])", (DEPLOY / name).read_text())[1]
    words = re.findall(r'"([^"]*)"', line)
    assert words[:3] == ["python", "-m", "triosock"]
    make_parser().parse_args(words[3:])


def test_the_program_of_ones_own_restarts_and_drains():
    program = "import trio, triosock, workers; triosock.run(workers.parent, 0)"
    with running("-c", program, cwd=CODE) as running_program:
        assert running_program.wait() == 0
        assert running_program.output.count("WorkerStatus(number=") == 2
        # Not the whole line: the log of the workers goes to the same pipe, between a word and its newline.
        assert "2 replaced" in running_program.output
        assert "workers: drained in" not in running_program.output  # nobody sent a signal


def test_a_stdlib_server_is_a_worker():
    program = (
        "import functools, logging, triosock\n"
        "logging.basicConfig(level='INFO')\n"
        "triosock.run(functools.partial(triosock.serve_workers, 'compat_workers:worker', "
        "['tcp://127.0.0.1:0'], workers=2))\n"
    )
    with server_program("-c", program, cwd=CODE) as parent:
        check_drain(parent, int(parent.wait_for(r"2 workers on tcp://127\.0\.0\.1:(\d+)")[1]))
