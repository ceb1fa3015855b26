"""Features of a sparse autoencoder: states in its terms, and steps along them back among states."""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from wheretolisten.errors import UserError

_TENSORS = ("W_enc", "W_dec", "b_enc", "b_dec")


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """z = ReLU((h − b_dec) W_enc + b_enc), ĥ = z W_dec + b_dec; b_dec is taken off first only where the file says so.

    Attributes
    ----------
    encoder
        W_enc, [width, feature].
    decoder
        W_dec, [feature, width].
    encoder_bias, decoder_bias
        [feature] and [width].
    threshold
        Features that are not above it are 0 (JumpReLU), [feature]; 0: ReLU.
    centred
        Whether b_dec is taken off before encoding.
    """

    encoder: np.ndarray
    decoder: np.ndarray
    encoder_bias: np.ndarray
    decoder_bias: np.ndarray
    threshold: np.ndarray
    centred: bool

    def encode(self, states: np.ndarray) -> np.ndarray:
        """Features of states, [..., feature] from [..., width]."""
        z = (states - self.decoder_bias if self.centred else states) @ self.encoder + self.encoder_bias
        return np.where(z > self.threshold, z, 0.0)

    def decode(self, features: np.ndarray) -> np.ndarray:
        """States that features stand for, [..., width]; what they leave out of the states they were made of is lost."""
        return features @ self.decoder + self.decoder_bias

    def step(self, change: np.ndarray) -> np.ndarray:
        """What a change of features adds to a state, [..., width]: nothing where nothing changes.

        h + step(δ) keeps what the autoencoder does not know; decode(encode(h) + δ) would lose it, also where δ is 0.
        """
        return change @ self.decoder


@functools.cache
def read_features(path: str | Path) -> SparseAutoencoder:
    """An autoencoder from safetensors with W_enc, W_dec, b_enc and b_dec, perhaps a threshold (SAELens's names).

    The file's metadata may say `apply_b_dec_to_input: "true"`.

    Raises
    ------
    UserError
        If it cannot be read, or its tensors do not fit each other.
    """
    try:
        with safe_open(str(path), "numpy") as file:
            tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path}: it is no safetensors file ({error}); give one with {', '.join(_TENSORS)}") from error
    lacking = [name for name in _TENSORS if name not in tensors]
    if lacking:
        raise UserError(f"{path}: the tensor {lacking[0]} is missing; it takes {', '.join(_TENSORS)}")
    encoder, decoder, encoder_bias, decoder_bias = (tensors[name] for name in _TENSORS)
    if encoder.ndim != 2 or decoder.shape != encoder.shape[::-1]:
        raise UserError(
            f"{path}: W_enc of shape {encoder.shape} and W_dec of shape {decoder.shape} do not fit; they are "
            "[width, feature] and [feature, width]"
        )
    threshold = tensors.get("threshold", np.zeros(encoder.shape[1]))
    centred = metadata.get("apply_b_dec_to_input", "false").lower() == "true"
    return SparseAutoencoder(encoder, decoder, encoder_bias, decoder_bias, threshold, centred)
