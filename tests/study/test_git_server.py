from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

import pytest

from jobrunner.demo.git_server import GitServer
from tests.study.sites import Site

pytestmark = pytest.mark.http


def request(host: GitServer, method: str, path: str, headers: dict[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection(*host.server_address[:2], timeout=10)  # type: ignore[misc]
    try:
        connection.request(method, path, headers=headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_real_git_can_clone_from_it(site: Site, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "--quiet", site.url, str(tmp_path / "copy")], check=True)

    assert (tmp_path / "copy/analysis/a.py").read_text() == "print(1)\n"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/owner/study/HEAD"),
        ("GET", "/owner/study/config"),
        ("GET", "/owner/study/info/refs"),
        ("GET", "/owner/study/info/refs?service=git-receive-pack"),
        ("POST", "/owner/study/git-receive-pack"),
        ("GET", "/owner/../../etc/passwd"),
        ("GET", "/none/info/refs?service=git-upload-pack"),
    ],
)
def test_it_serves_fetches_and_nothing_else(site: Site, method: str, path: str) -> None:
    assert request(site.host, method, path, {"Content-Length": "0"}) == 404


def test_it_takes_no_body_without_a_length(site: Site) -> None:
    assert (
        request(site.host, "POST", "/owner/study/git-upload-pack", {"Content-Length": "99999999999"}) == 411
    )


def test_the_port_is_free_after_stop(site: Site, tmp_path: Path) -> None:
    with GitServer(tmp_path) as first:
        port = first.server_address[1]
    with GitServer(tmp_path, port) as second:
        assert second.base_url == f"http://127.0.0.1:{port}"
