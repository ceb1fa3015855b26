"""Features of audio as a function through which gradients flow; processors compute theirs in numpy."""

import torch
from torch import nn
from transformers import WhisperFeatureExtractor

LOG_MEL_TOLERANCE = 1e-4
"""Largest difference from a processor's own features."""


def log_mel(signal: torch.Tensor, extractor: WhisperFeatureExtractor) -> torch.Tensor:
    """Log-mel spectrogram of a signal, padded with zeros to the extractor's window (Whisper, arXiv 2212.04356, §2.2).

    Parameters
    ----------
    signal
        float32 [frame] at the extractor's sampling rate, at most as long as its window.
    extractor
        Its sizes and its mel filters.

    Returns
    -------
    torch.Tensor
        [mel, step]; decades of power, at most 8 below the highest, moved and scaled to about −1 … 1.
    """
    padded = nn.functional.pad(signal, (0, extractor.n_samples - len(signal)))
    window = torch.hann_window(extractor.n_fft, device=signal.device)
    spectrum = torch.stft(padded, extractor.n_fft, extractor.hop_length, window=window, return_complex=True)[:, :-1]
    power = spectrum.real.square() + spectrum.imag.square()
    filters = torch.as_tensor(extractor.mel_filters, dtype=power.dtype, device=signal.device)
    decades = (filters.T @ power).clamp(min=1e-10).log10()
    return (torch.maximum(decades, decades.max() - 8) + 4) / 4
