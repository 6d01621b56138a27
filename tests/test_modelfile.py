"""The header and the seal of an ONNX file, read without a protobuf library."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from rtmatte.contract import METADATA_KEY
from rtmatte.errors import ContractError
from rtmatte.modelfile import SEAL_KEY, read_header, read_seal, seal, sha256_of
from tests.toy_model import save_toy, toy_contract


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_toy(tmp_path / "toy.onnx", toy_contract())


def test_header_holds_the_metadata_and_the_operator_domains(model: Path) -> None:
    changed = onnx.load(model)
    changed.metadata_props.add(key="note", value="grüß")
    changed.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.write_bytes(changed.SerializeToString())

    header = read_header(model)

    assert header.metadata == {METADATA_KEY: toy_contract().to_json(), "note": "grüß"}
    assert header.domains == ("", "com.microsoft")


def test_header_of_every_shorter_file_is_an_error_or_lacks_the_contract(model: Path, tmp_path: Path) -> None:
    content, part = model.read_bytes(), tmp_path / "part.onnx"
    errors = 0
    for size in range(0, len(content), 7):
        part.write_bytes(content[:size])
        try:
            assert METADATA_KEY not in read_header(part).metadata
        except ContractError:
            errors += 1
    assert errors > len(content) / 7 / 2


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=200))
def test_random_bytes_give_a_header_or_a_contract_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "random.onnx"
    path.write_bytes(content)
    try:
        header = read_header(path)
    except ContractError:
        return
    assert all(isinstance(value, str) for value in (*header.metadata.values(), *header.domains))


@settings(max_examples=100, deadline=None)
@given(size=st.integers(2**31, 2**63), rest=st.binary(max_size=20))
def test_declared_sizes_are_never_believed(size: int, rest: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "liar.onnx"
    varint = b""
    while size > 0x7F:
        varint, size = varint + bytes([size & 0x7F | 0x80]), size >> 7
    for field in (b"\x72", b"\x42", b"\x72\x05\x0a", b"\x3a"):  # metadata, operator set, a key in metadata, the graph
        path.write_bytes(field + varint + bytes([size]) + rest)

        with pytest.raises(ContractError, match="not a complete ONNX file"):
            read_header(path)


def test_file_that_was_not_sealed_has_no_seal(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")

    assert read_seal(model) is None
    assert read_seal(tmp_path / "empty") is None


def test_sealed_file_is_what_it_was_and_still_onnx(model: Path) -> None:
    before = sha256_of(model)

    seal(model)

    found = read_seal(model)
    assert found is not None
    assert found.recorded == found.found == before
    assert read_header(model).metadata[SEAL_KEY] == before
    onnx.checker.check_model(onnx.load(model))


def test_sealing_twice_changes_nothing(model: Path) -> None:
    seal(model)
    once = model.read_bytes()

    seal(model)

    assert model.read_bytes() == once


def test_every_changed_byte_breaks_the_seal(model: Path) -> None:
    seal(model)
    content = model.read_bytes()
    for place in range(0, len(content) - 100, 13):
        changed = bytearray(content)
        changed[place] ^= 1
        model.write_bytes(changed)

        found = read_seal(model)

        assert found is not None
        assert found.recorded != found.found


def test_file_saved_again_by_another_tool_breaks_the_seal(model: Path) -> None:
    seal(model)
    changed = onnx.load(model)
    changed.producer_name = "somebody else"
    model.write_bytes(changed.SerializeToString())

    found = read_seal(model)

    assert found is not None
    assert found.recorded != found.found
