"""Sequences: samples of sounds in sequence. Readers need no more than this; makers use the other modules."""

from wheretolisten.examples.shards import load_audio, read_shard

__all__ = ["load_audio", "read_shard"]
