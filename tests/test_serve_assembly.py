"""Packets become pictures as soon as they are whole, in order, and after a loss from a key frame on."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from rtmatte.clock import ManualClock
from rtmatte.serve.assembly import Assembler, InOrder, is_key_frame

KEY = b"\x10\0\0\x9d\x01\x2a" + b"k" * 10
DELTA = b"\x11\0\0" + b"d" * 10


@dataclass(frozen=True)
class Packet:
    sequence_number: int
    timestamp: int
    marker: int
    payload_type: int
    _data: bytes


def stream(pictures: int, *, parts: int = 3, first: int = 65_530) -> list[Packet]:
    """The packets of a key frame and deltas; their numbers wrap."""
    made = []
    for number in range(pictures):
        whole = KEY if number == 0 else DELTA + number.to_bytes(2, "big")
        cuts = [whole[part * len(whole) // parts : (part + 1) * len(whole) // parts] for part in range(parts)]
        for part, data in enumerate(cuts):
            sequence = (first + number * parts + part) % 0x10000
            made.append(Packet(sequence, 1000 + number * 3000, int(part == parts - 1), 96, data))
    return made


def whole(number: int) -> bytes:
    return KEY if number == 0 else DELTA + number.to_bytes(2, "big")


class Delivered(list[tuple[int, bytes, int]]):
    def __call__(self, payload_type: int, data: bytes, timestamp: int) -> None:
        self.append((payload_type, data, timestamp))

    @property
    def pictures(self) -> list[bytes]:
        return [data for _, data, _ in self]


def test_a_picture_leaves_with_its_last_packet_not_with_the_next_picture() -> None:
    delivered = Delivered()
    assembler = Assembler(ManualClock(), delivered)

    for packet in stream(1):
        assembler.add(packet)

    assert delivered == [(96, KEY, 1000)]


def test_a_sender_without_markers_is_heard_when_the_next_picture_begins() -> None:
    delivered = Delivered()
    assembler = Assembler(ManualClock(), delivered)

    for packet in stream(2):
        assembler.add(Packet(packet.sequence_number, packet.timestamp, 0, 96, packet._data))

    assert delivered.pictures == [KEY]


@given(st.permutations(range(9)))
def test_packets_in_any_order_become_the_same_pictures(order: list[int]) -> None:
    delivered = Delivered()
    assembler = Assembler(ManualClock(), delivered)
    first, rest = stream(4)[:3], stream(4)[3:]

    for packet in (*first, *(rest[index] for index in order)):
        assembler.add(packet)

    assert delivered.pictures == [whole(number) for number in range(4)]


@given(st.lists(st.integers(0, 29), max_size=12), st.randoms(use_true_random=False))
def test_whatever_is_lost_no_picture_is_wrong(lost: list[int], random: object) -> None:
    delivered, clock = Delivered(), ManualClock()
    assembler = Assembler(clock, delivered)

    for index, packet in enumerate(stream(10)):
        clock.advance(0.02)
        if index not in lost:
            assembler.add(packet)

    assert set(delivered.pictures) <= {whole(number) for number in range(10)}
    assert delivered.pictures[:1] in ([], [KEY])


def test_duplicates_and_latecomers_change_nothing() -> None:
    delivered = Delivered()
    assembler = Assembler(ManualClock(), delivered)

    for packet in stream(3):
        assembler.add(packet)
        assembler.add(packet)
    assembler.add(stream(3)[1])

    assert delivered.pictures == [whole(number) for number in range(3)]


def test_a_gap_is_waited_for_and_then_given_up_until_a_key_frame() -> None:
    delivered, clock = Delivered(), ManualClock()
    assembler = Assembler(clock, delivered)
    packets = stream(8)
    for packet in packets[:3]:
        assembler.add(packet)
    assert delivered.pictures == [KEY]

    for packet in packets[4:9]:  # the fourth is lost
        assert assembler.add(packet) == (False, None)
    clock.advance(Assembler.PATIENCE)
    assembler.add(packets[9])

    assert assembler.losses == 1
    assert delivered.pictures == [KEY]
    clock.advance(Assembler.ASK_EVERY)
    asked = [assembler.add(packet)[0] for packet in packets[10:12]]
    assert asked == [True, False]  # a key frame, and not again at once
    assembler.add(Packet(packets[12].sequence_number, 99_000, 0, 96, KEY))
    assembler.add(Packet(packets[13].sequence_number, 99_000, 1, 96, b""))
    assert delivered.pictures == [KEY, KEY]


def test_a_late_packet_within_the_patience_closes_the_gap() -> None:
    delivered, clock = Delivered(), ManualClock()
    assembler = Assembler(clock, delivered)
    packets = stream(3)

    for packet in (*packets[:3], *packets[4:]):
        clock.advance(0.01)
        assembler.add(packet)
    assembler.add(packets[3])

    assert delivered.pictures == [whole(number) for number in range(3)]
    assert assembler.losses == 0


def test_a_jump_of_thousands_is_another_stream() -> None:
    order = InOrder(ManualClock(), patience=1.0)
    list(order.add(Packet(10, 0, 1, 96, b"")))

    assert [packet.sequence_number for packet, _ in order.add(Packet(30_000, 0, 1, 96, b""))] == [30_000]


def test_key_frames_are_told_from_others() -> None:
    nal = b"\0\0\0\1"

    assert is_key_frame(KEY)
    assert not is_key_frame(DELTA)
    assert not is_key_frame(b"")
    assert is_key_frame(nal + b"\x67rest")  # a parameter set
    assert is_key_frame(nal + b"\x65rest")  # an IDR slice
    assert is_key_frame(nal + b"\x09\x10" + nal + b"\x06x" + nal + b"\x67rest")  # behind a delimiter and a supplement
    assert not is_key_frame(nal + b"\x41rest")
    assert not is_key_frame(nal + b"\x09\x10")
