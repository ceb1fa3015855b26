"""HDF5 in and out: columnar files, one row per sample, with provenance and crash-safe writing."""

from wheretolisten.store.parts import PartedFile, PartedTable
from wheretolisten.store.results import (
    Activations,
    Attention,
    read_activations,
    read_attention,
    read_states,
    read_vectors,
)
from wheretolisten.store.schema import ACTIVATIONS, ATTENTION, VECTORS, Column, Schema

__all__ = [
    "ACTIVATIONS",
    "ATTENTION",
    "VECTORS",
    "Activations",
    "Attention",
    "Column",
    "PartedFile",
    "PartedTable",
    "Schema",
    "read_activations",
    "read_attention",
    "read_states",
    "read_vectors",
]
