"""The server of the app: its headers, the assets that it hands out itself, and messages that do not wait."""

import http.client
import re
import socket
from pathlib import Path
from urllib.parse import urlparse

import streamlit


def test_small_messages_do_not_wait_for_an_answer(module):
    """Accepted connections inherit it; asyncio does the same, but for sockets that name TCP as their protocol only."""
    server_side = module("main")
    with socket.socket(socket.AF_INET) as listening, socket.socket(socket.AF_INET) as client:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server_side.send_at_once()
        client.connect(listening.getsockname())
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_assets_are_the_shipped_ones_and_nothing_else_is_handed_out(shots, tiny_run: Path):
    shipped = Path(streamlit.__file__).parent / "static"
    with shots.serving("--run", str(tiny_run)) as address:
        to = http.client.HTTPConnection(urlparse(address).netloc)

        def got(path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
            to.request(method, path)
            answer = to.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

        status, headers, page = got("/")
        assert status == 200 and "no-cache" in headers["cache-control"]
        assets = re.findall(rb"(?:src|href)=\"\./(static/[^\"]+)\"", page)
        assert len(assets) > 2
        for asset in map(bytes.decode, assets):
            status, headers, body = got(f"/{asset}")
            assert (status, body) == (200, (shipped / asset).read_bytes())
            assert "immutable" in headers["cache-control"]
            assert "default-src 'self'" in headers["content-security-policy"]
            kind = {"js": "javascript", "css": "text/css", "woff2": "font/woff2"}[asset.rpartition(".")[2]]
            assert kind in headers["content-type"]
        status, headers, body = got(f"/{assets[0].decode()}", "HEAD")
        assert status == 200 and not body
        secret = (tiny_run / "run.json").read_bytes()
        for path in (f"/static/{tiny_run}/run.json", f"/static/../../..{tiny_run}/run.json", "/static/../index.html"):
            status, headers, body = got(path)
            assert body != secret and "default-src 'self'" in headers["content-security-policy"]
