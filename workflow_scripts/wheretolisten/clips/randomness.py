"""Independent streams of random numbers, each named by a key."""

import hashlib
import json

import numpy as np


def generator(*key: str | int) -> np.random.Generator:
    """A generator that depends on its key only: equal keys give equal streams, different keys independent ones."""
    name = json.dumps(key).encode()
    return np.random.default_rng(int.from_bytes(hashlib.sha256(name).digest(), "big"))
