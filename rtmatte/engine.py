"""The door to a model: `open_engine` will check the file and pick a backend."""

from __future__ import annotations

from rtmatte.modelfile import sha256_of
from rtmatte.step import Array, Engine, State

__all__ = ["Array", "Engine", "State", "sha256_of"]
