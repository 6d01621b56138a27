"""What WHIP and WHEP are asked, byte by byte: the offer of OBS 30, and a client that shares nothing with the server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from tests.serving import Room

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"

FINGERPRINT = ":".join(["AB"] * 32)
OBS_OFFER = "\r\n".join(
    [
        "v=0",
        "o=rtc 3767197920 0 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0 1",
        "a=group:LS 0 1",
        "a=msid-semantic:WMS *",
        "a=setup:actpass",
        "a=ice-ufrag:ufrg",
        "a=ice-pwd:passwordpasswordpassword",
        "a=ice-options:ice2,trickle",
        f"a=fingerprint:sha-256 {FINGERPRINT}",
        "m=audio 9 UDP/TLS/RTP/SAVPF 111",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sendonly",
        "a=ssrc:1 cname:obs",
        "a=rtcp-mux",
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1",
        "m=video 9 UDP/TLS/RTP/SAVPF 96",
        "c=IN IP4 0.0.0.0",
        "a=mid:1",
        "a=sendonly",
        "a=ssrc:2 cname:obs",
        "a=rtcp-mux",
        "a=rtpmap:96 H264/90000",
        "a=rtcp-fb:96 nack",
        "a=rtcp-fb:96 nack pli",
        "a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1",
        "",
    ]
)


@dataclass(frozen=True)
class Answer:
    """A response as it came over the wire; header names in small letters."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def __getitem__(self, name: str) -> str:
        (value,) = [value for key, value in self.headers if key == name.lower()]
        return value

    def has(self, name: str) -> bool:
        return any(key == name.lower() for key, _ in self.headers)


async def ask(room: Room, method: str, path: str, body: bytes | str = b"", **headers: str) -> Answer:
    """Sends one request, as bytes over a socket, and reads the response to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", room.port)
    given = body.encode() if isinstance(body, str) else body
    fields = {"Host": f"127.0.0.1:{room.port}", "Connection": "close", "Content-Length": str(len(given))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + given)
    raw = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    start, _, rest = raw.partition(b"\r\n")
    lines, _, content = rest.partition(b"\r\n\r\n")
    pairs = [line.decode().partition(": ") for line in lines.split(b"\r\n")]
    return Answer(int(start.split()[1]), [(name.lower(), value) for name, _, value in pairs], content)
