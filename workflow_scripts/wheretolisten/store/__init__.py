"""HDF5 in and out: columnar files, one row per sample, with provenance and crash-safe writing."""

from wheretolisten.store.parts import PartedFile, PartedTable
from wheretolisten.store.results import (
    Activations,
    Attention,
    AttentionMap,
    SweptAttention,
    read_activations,
    read_attention,
    read_attention_map,
    read_states,
    read_sweep,
    read_vectors,
)
from wheretolisten.store.schema import ACTIVATIONS, ATTENTION, ATTENTION_MAP, SWEEP, VECTORS, Column, Schema

__all__ = [
    "ACTIVATIONS",
    "ATTENTION",
    "ATTENTION_MAP",
    "SWEEP",
    "VECTORS",
    "Activations",
    "Attention",
    "AttentionMap",
    "Column",
    "PartedFile",
    "PartedTable",
    "Schema",
    "SweptAttention",
    "read_activations",
    "read_attention",
    "read_attention_map",
    "read_states",
    "read_sweep",
    "read_vectors",
]
