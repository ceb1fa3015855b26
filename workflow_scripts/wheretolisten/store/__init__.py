"""HDF5 in and out: columnar files, one row per sample, with provenance and crash-safe writing."""

from wheretolisten.store import schema
from wheretolisten.store.attributes import write_origin
from wheretolisten.store.parts import PartedFile, PartedTable
from wheretolisten.store.results import (
    Choices,
    Directions,
    Passes,
    concatenate,
    read_choices,
    read_directions,
    read_frames,
    read_passes,
    read_passes_by_event,
    read_states,
)
from wheretolisten.store.schema import Column, Schema, texts

__all__ = [
    "Choices",
    "Column",
    "Directions",
    "PartedFile",
    "PartedTable",
    "Passes",
    "Schema",
    "concatenate",
    "read_choices",
    "read_directions",
    "read_frames",
    "read_passes",
    "read_passes_by_event",
    "read_states",
    "schema",
    "texts",
    "write_origin",
]
