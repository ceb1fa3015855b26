"""HDF5 in and out: columnar files, one row per sample, with provenance and crash-safe writing."""

from wheretolisten.store.parts import PartedFile, PartedTable
from wheretolisten.store.results import (
    Activations,
    Attention,
    AttentionMap,
    AudioShare,
    Vectors,
    read_activations,
    read_attention,
    read_attention_map,
    read_audio_share,
    read_states,
    read_vectors,
)
from wheretolisten.store.schema import (
    ACTIVATIONS,
    ATTENTION,
    ATTENTION_MAP,
    AUDIO_SHARE,
    VECTORS,
    Column,
    Schema,
    activations_with,
)

__all__ = [
    "ACTIVATIONS",
    "ATTENTION",
    "ATTENTION_MAP",
    "AUDIO_SHARE",
    "VECTORS",
    "Activations",
    "Attention",
    "AttentionMap",
    "AudioShare",
    "Column",
    "PartedFile",
    "PartedTable",
    "Schema",
    "Vectors",
    "activations_with",
    "read_activations",
    "read_attention",
    "read_attention_map",
    "read_audio_share",
    "read_states",
    "read_vectors",
]
