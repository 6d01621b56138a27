"""An SDP offer from a stranger: checked before the parser sees it, cleaned of what would delay, and the answer's edit.

The parser of aiortc raises whatever comes to it on bad input, so whatever it raises is a bad request here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from aiortc.sdp import MediaDescription, SessionDescription

from rtmatte.serve.refusal import Refusal, bad_request

LONGEST = 64 * 1024
MEDIA_LINES = 8
CANDIDATES = 100
LINES = 4000

SENDS = frozenset({"sendonly", "sendrecv"})
TAKES = frozenset({"recvonly", "sendrecv"})
START_KILOBITS = 2500  # what a browser is asked to start with: from 300 it climbs, and scales down, for ten seconds

VideoCodec = Literal["H264", "VP8"]
VIDEO_CODECS: tuple[VideoCodec, ...] = ("H264", "VP8")


@dataclass(frozen=True, slots=True)
class Offer:
    """A clean offer: its text, and whether it sends and takes pictures and sound. `codecs`: of the pictures, those
    that can be encoded here, in the peer's order."""

    sdp: str
    sends_video: bool
    takes_video: bool
    sends_audio: bool
    takes_audio: bool
    codecs: tuple[VideoCodec, ...]

    @classmethod
    def parse(cls, text: str) -> Offer:
        """Returns the offer in `text`; a Refusal for what is none, is too large, or cannot be met here."""
        _measure(text)
        sdp = _cleaned(text)
        try:
            description = SessionDescription.parse(sdp)
            kinds = [media.kind for media in description.media]
            video = _only(description.media, "video")
            audio = _only(description.media, "audio")
            whole = all(map(_is_whole, description.media))
            directed = all(media.direction for media in (video, audio) if media)
        except Refusal:
            raise
        except Exception as error:  # StopIteration, KeyError, AssertionError and more, all by bad input
            raise bad_request("expected an SDP offer, found one that cannot be parsed") from error
        if not set(kinds) <= {"audio", "video", "application"} or kinds.count("application") > 1:
            raise bad_request("expected pictures, sound and one data channel in the offer, found more")
        if not whole or not directed:
            raise bad_request("expected ICE credentials, a DTLS fingerprint, a setup role and a direction for each")
        _check_bundle(description)
        if video is None:
            raise bad_request("expected a video medium in the offer, found none")
        codecs = tuple(dict.fromkeys(name for codec in video.rtp.codecs if (name := _known(codec))))
        if not codecs:
            found = ", ".join(dict.fromkeys(codec.name for codec in video.rtp.codecs if codec.name.lower() != "rtx"))
            raise Refusal(
                HTTPStatus.NOT_ACCEPTABLE,
                f"expected H.264 (constrained baseline) or VP8, found {found or 'none'}; choose H.264 in the sender",
            )
        if audio is not None and not any(codec.name.lower() == "opus" for codec in audio.rtp.codecs):
            raise Refusal(HTTPStatus.NOT_ACCEPTABLE, "expected Opus for the sound; choose it in the sender")
        directions = [media.direction if media else "inactive" for media in (video, audio)]
        return cls(
            sdp,
            sends_video=directions[0] in SENDS,
            takes_video=directions[0] in TAKES,
            sends_audio=directions[1] in SENDS,
            takes_audio=directions[1] in TAKES,
            codecs=codecs,
        )


def with_start_bit_rate(answer: str) -> str:
    """Returns the answer with a start bit rate for every video codec, which Chrome heeds and others ignore."""
    lines, video = [], False
    hint = f"x-google-start-bitrate={START_KILOBITS}"
    described = set(re.findall(r"^a=fmtp:(\d+) ", answer, re.MULTILINE))
    for line in answer.split("\r\n"):
        if line.startswith("m="):
            video = line.startswith("m=video")
        named = re.match(r"a=(rtpmap|fmtp):(\d+) (.*)", line) if video else None
        if named and named[1] == "fmtp" and not named[3].startswith("apt="):
            line = f"{line};{hint}"
        lines.append(line)
        if named and named[1] == "rtpmap" and named[2] not in described and not named[3].lower().startswith("rtx/"):
            lines.append(f"a=fmtp:{named[2]} {hint}")
    return "\r\n".join(lines)


def is_hidden(candidate: str) -> bool:
    """Whether a candidate line names an mDNS host: resolving it would take a second, its checks reach us anyway."""
    fields = candidate.split()
    return len(fields) > 4 and fields[4].lower().rstrip(".").endswith(".local")


def _measure(text: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected an offer of at most {LONGEST} bytes")
    if "\0" in text or not text.startswith("v=0"):
        raise bad_request("expected an SDP offer, which begins with v=0")
    lines = text.splitlines()
    if len(lines) > LINES:
        raise bad_request(f"expected at most {LINES} lines in the offer, found {len(lines)}")
    media = sum(line.startswith("m=") for line in lines)
    if not 1 <= media <= MEDIA_LINES:
        raise bad_request(f"expected 1 to {MEDIA_LINES} media in the offer, found {media}")
    candidates = sum(line.startswith("a=candidate:") for line in lines)
    if candidates > CANDIDATES:
        raise bad_request(f"expected at most {CANDIDATES} candidates in the offer, found {candidates}")


def _cleaned(text: str) -> str:
    """Without hidden candidates, and without the end of candidates: a peer that has none is found by its checks."""
    kept = (
        line
        for line in text.splitlines()
        if line and line.strip() != "a=end-of-candidates" and not (line.startswith("a=candidate:") and is_hidden(line))
    )
    return "".join(f"{line}\r\n" for line in kept)


def _is_whole(media: MediaDescription) -> bool:
    """Whether a medium says how to reach its sender and how to know it again."""
    ice, dtls = media.ice, media.dtls
    return bool(ice and ice.usernameFragment and ice.password and dtls and dtls.fingerprints)


def _check_bundle(description: SessionDescription) -> None:
    """aiortc looks media up by their names while it connects, too late to refuse anything."""
    names = [media.rtp.muxId for media in description.media]
    bundles = [group.items for group in description.group if group.semantic == "BUNDLE"]
    bundled = [name for items in bundles for name in items]
    if len(set(names)) < len(names) or len(bundles) > 1 or len(set(bundled)) < len(bundled):
        raise bad_request("expected every medium under a name of its own, and one bundle at most")
    if not set(bundled) <= set(names):
        raise bad_request("expected only media of the offer in its bundle")


def _only(media: list[MediaDescription], kind: str) -> MediaDescription | None:
    found = [each for each in media if each.kind == kind]
    if len(found) > 1:
        raise bad_request(f"expected one {kind} medium in the offer, found {len(found)}")
    return found[0] if found else None


def _known(codec: RTCRtpCodecParameters) -> VideoCodec | None:
    match codec.name.upper():
        case "VP8":
            return "VP8"
        case "H264" if _is_baseline(codec):
            return "H264"
    return None


def _is_baseline(codec: RTCRtpCodecParameters) -> bool:
    """Whether it is H.264 baseline, constrained or not, in packetisation mode 1: all that can be taken here."""
    profile = str(codec.parameters.get("profile-level-id", "42E01F"))
    return str(codec.parameters.get("packetization-mode", "0")) == "1" and profile[:2] == "42"
