"""The control over HTTP: it answers programs on this machine, and nobody else."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtmatte.api import Api
from rtmatte.cli.control import ControlServer, read_token
from rtmatte.control import Control, Reseed
from rtmatte.errors import InputError
from rtmatte.frame import Pixels
from rtmatte.live import View
from rtmatte.settings import Settings

JSON = {"Content-Type": "application/json"}


class FakeLine:
    @property
    def status(self) -> Settings:
        return Settings()

    def picture(self, view: View) -> Pixels | None:
        return np.zeros((4, 6, 3), np.uint8)


@contextmanager
def served(folder: Path, *, token: str | None = None) -> Iterator[tuple[Control, ControlServer]]:
    control = Control()
    with ControlServer(Api(FakeLine(), control, uploads=folder), port=0, token=token) as server:
        yield control, server


def ask(
    server: ControlServer, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
) -> tuple[int, Any]:
    host = server.url.split("/")[2]
    with closing(http.client.HTTPConnection(host, timeout=20)) as connection:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        data = answer.read()
    return answer.status, json.loads(data) if data.startswith(b"{") else data


def test_settings_and_commands_arrive(tmp_path: Path) -> None:
    with served(tmp_path) as (control, server):
        assert ask(server, "PATCH", "/api/settings", '{"mirror": true}', JSON)[0] == 200
        assert ask(server, "POST", "/api/reseed") == (202, {"accepted": True})
        assert ask(server, "GET", "/api/settings") == (200, Settings(mirror=True).to_dict())
        status, picture = ask(server, "GET", "/api/frame.jpg?view=matte")

    assert control.commands() == [Reseed()]
    assert status == 200
    assert picture.startswith(b"\xff\xd8")


def test_paths_are_decoded_once(tmp_path: Path) -> None:
    with served(tmp_path) as (_, server):
        assert ask(server, "PUT", "/api/presets/at%20home")[1]["error"] == "presets are not kept here"
        assert "below /api/" in ask(server, "GET", "/")[1]["error"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:8090"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Content-Length": "-1"}, 400),
        ({"Content-Length": "1e3"}, 400),
        ({"Content-Length": "99999999999"}, 413),
        ({"Transfer-Encoding": "chunked"}, 411),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_what_other_sites_and_broken_clients_send_is_refused(
    tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    with served(tmp_path) as (control, server):
        body = None if "Content-Length" in headers or "Transfer-Encoding" in headers else '{"mirror": true}'
        assert ask(server, "PATCH", "/api/settings", body, {**JSON, **headers})[0] == status

    assert control.settings == Settings()


def test_a_token_is_asked_for(tmp_path: Path) -> None:
    with served(tmp_path, token="secret") as (_, server):
        assert ask(server, "GET", "/api/status")[0] == 401
        assert ask(server, "GET", "/api/status", None, {"Authorization": "Bearer wrong"})[0] == 401
        assert ask(server, "GET", "/api/status", None, {"Authorization": "Bearer secret"})[0] == 200


def test_a_client_that_goes_away_in_the_middle_harms_nobody(tmp_path: Path) -> None:
    with served(tmp_path) as (_, server):
        port = int(server.url.split("/")[2].split(":")[1])
        with socket.create_connection(("127.0.0.1", port)) as line:
            line.sendall(b"PUT /api/background HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 9" % port)
        assert ask(server, "GET", "/api/status")[0] == 200


def test_a_port_that_is_taken_is_an_error(tmp_path: Path) -> None:
    with served(tmp_path) as (control, server):
        port = int(server.url.split("/")[2].split(":")[1])
        with pytest.raises(InputError, match=f"free port.*{port}"):
            ControlServer(Api(FakeLine(), control, uploads=tmp_path), port=port)


def test_a_token_is_made_once_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"

    made = read_token(path)

    assert len(made) >= 24
    assert read_token(path) == made
    path.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        read_token(path)


@pytest.mark.parametrize("content", ["", "naïve"])
def test_a_file_without_a_token_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "token"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)

    with pytest.raises(InputError, match="token"):
        read_token(path)
    with pytest.raises(InputError, match="cannot read a token"):
        read_token(tmp_path / "nowhere" / "token")
