"""The JSON schemas of what the API takes and gives, those of the settings made from the settings themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from rtmatte.settings import Settings
from rtmatte.targets import MOST_POINTS

Schema = dict[str, Any]


def of_setting(each: Field[Any]) -> Schema:
    """Returns the schema of one setting."""
    kinds = {bool: "boolean", float: "number", str: "string"}
    schema: Schema = {"type": kinds[type(each.default)], "default": each.default, "description": each.metadata["says"]}
    if "least" in each.metadata:
        schema |= {"minimum": each.metadata["least"], "maximum": each.metadata["most"]}
    return schema


def of_object(properties: dict[str, Schema], *, required: Sequence[str] = ()) -> Schema:
    """Returns the schema of an object that has `properties` and no others."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | {"required": list(required)} if required else schema


def one_of(values: Sequence[str]) -> Schema:
    """Returns the schema of a text that is one of `values`."""
    return {"type": "string", "enum": list(values)}


UNIT: Schema = {"type": "number", "minimum": 0, "maximum": 1}
OBJECT: Schema = {"type": "object"}
BYTES: Schema = {"type": "string", "format": "binary"}
SETTINGS = of_object({each.name: of_setting(each) for each in fields(Settings)})
POINT = of_object({"x": UNIT, "y": UNIT, "wanted": {"type": "boolean", "default": True}}, required=["x", "y"])
BOX: Schema = {"type": ["array", "null"], "items": UNIT, "minItems": 4, "maxItems": 4}
TARGET = of_object(
    {
        "kind": one_of(["person", "pick"]),
        "points": {"type": "array", "items": POINT, "maxItems": MOST_POINTS},
        "box": BOX | {"description": "left, top, right, bottom, around the person"},
    },
    required=["kind"],
)
RECORD = of_object({"on": {"type": "boolean"}}, required=["on"])
ACCEPTED = of_object({"accepted": {"type": "boolean"}}, required=["accepted"])
PRESETS = of_object({"presets": {"type": "array", "items": {"type": "string"}}}, required=["presets"])
ERROR = of_object({"error": {"type": "string"}}, required=["error"])
