"""Texture statistics of events: an auxiliary target for the audio encoder where recordings are few.

Labels alone let an encoder learn a few hundred clips by heart. What a texture sounds like is in statistics over time
(McDermott & Simoncelli 2011, Neuron 71:926); an encoder that must tell them for every event names new recordings
better. The targets come from the sound itself.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from scipy.signal import periodogram
from torch import nn

from wheretolisten.config.constants import SAMPLING_RATE
from wheretolisten.tiny.architecture import HOP_LENGTH, MEL_BINS, TOKENS_PER_SECOND
from wheretolisten.tiny.language import Event
from wheretolisten.tiny.recordings import Recording

_FRAME_RATE = SAMPLING_RATE / HOP_LENGTH  # mel frames per second
_PERCENTILES = (10, 50, 90)
_OCTAVES = 5
_MODULATION_EDGES = _FRAME_RATE / 2 ** np.arange(_OCTAVES + 1.0, 0.0, -1.0)  # Hz; up to half the frame rate
_MODULATION_FLOOR = 1e-5  # squared log-mel units per Hz; a steady sound has no modulation
_FEWEST_FREQUENCIES = 128  # so that every octave holds one, however short the event
_SHORTEST = 4  # mel frames
N_STATISTICS = (4 + len(_PERCENTILES) + _OCTAVES) * MEL_BINS - 1  # the last bin has no next one to be rough against


def texture_statistics(log_mel: np.ndarray) -> np.ndarray:
    """What a texture sounds like: level, roughness and modulation of each mel bin over time.

    Mean, deviation, mean change from frame to frame, percentiles, mean change from bin to bin, and logarithmic power of
    the modulation in five octaves up to half the frame rate (0.4 to 12.5 Hz).

    Parameters
    ----------
    log_mel
        Log-mel [mel_bin, mel_frame].

    Returns
    -------
    [statistic], twelve for each mel bin, eleven for the last, which has no next one.
    """
    change = np.abs(np.diff(log_mel, axis=1)).mean(1)
    roughness = np.abs(np.diff(log_mel, axis=0)).mean(1)
    n_frequencies = max(log_mel.shape[1], _FEWEST_FREQUENCIES)
    frequencies, power = periodogram(log_mel, _FRAME_RATE, "hann", n_frequencies)
    octave = np.digitize(frequencies, _MODULATION_EDGES[:-1])
    modulation = [power[:, octave == k].mean(1) for k in range(1, _OCTAVES + 1)]
    return np.concatenate(
        [
            log_mel.mean(1),
            log_mel.std(1),
            change,
            np.percentile(log_mel, _PERCENTILES, axis=1).ravel(),
            roughness,
            np.log(np.add(modulation, _MODULATION_FLOOR)).ravel(),
        ]
    )


class TextureHead(nn.Module):
    """Linear readout of the texture of the event around each audio token; not part of the saved model.

    What is told are the first principal components of the statistics, each scaled to a variance of 1. Told as they
    are, level and spectral tilt would be nearly all of the loss, and what tells sounds apart hardly any.

    Parameters
    ----------
    hidden_size
        Width of the audio encoder.
    n_components
        How many principal components.
    """

    def __init__(self, hidden_size: int, n_components: int) -> None:
        super().__init__()
        self.readout = nn.Linear(hidden_size, n_components)
        self.register_buffer("mean", torch.zeros(N_STATISTICS))
        self.register_buffer("components", torch.zeros(n_components, N_STATISTICS))

    @property
    def standardised(self) -> bool:
        """Whether the components were taken from recordings, here or before a checkpoint."""
        return bool(self.components.any())

    def standardise(self, features: torch.Tensor, recordings: Sequence[Recording]) -> None:
        """Take the components from some recordings with more events than components; `features` as in `loss`."""
        rows = [row for row, _, _ in _events(features, recordings)]
        statistics = torch.tensor(np.array(rows), dtype=torch.float32)
        mean, deviation = statistics.mean(0), statistics.std(0) + 1e-3
        _, spread, directions = torch.linalg.svd((statistics - mean) / deviation, full_matrices=False)
        count = len(self.components)
        # Copied: in the layout that the decomposition leaves, products round otherwise than after a checkpoint.
        self.mean.copy_(mean)
        self.components.copy_(directions[:count] / deviation * (len(rows) ** 0.5 / spread[:count, None]))

    def loss(self, states: torch.Tensor, features: torch.Tensor, recordings: Sequence[Recording]) -> torch.Tensor:
        """Mean squared error of the scaled components over the audio tokens of events.

        Parameters
        ----------
        states
            Output of the audio encoder [recording, audio_token, hidden].
        features
            Log-mel [recording, mel_bin, mel_frame].
        recordings
            What is heard when.
        """
        told, wanted = [], []
        for statistics, index, event in _events(features, recordings):
            told.append(states[index, _span(event, TOKENS_PER_SECOND)])
            row = torch.tensor(statistics, dtype=torch.float32)
            wanted.append((self.components @ (row - self.mean)).expand(len(told[-1]), -1))
        return (self.readout(torch.cat(told)) - torch.cat(wanted)).square().mean()


def _events(features: torch.Tensor, recordings: Sequence[Recording]) -> Iterator[tuple[np.ndarray, int, Event]]:
    """Statistics, number of the recording and event, for each event that is long enough."""
    for index, (log_mel, recording) in enumerate(zip(features.numpy(), recordings, strict=True)):
        for event in recording.events:
            part = log_mel[:, _span(event, _FRAME_RATE)]
            if part.shape[1] >= _SHORTEST:
                yield texture_statistics(part), index, event


def _span(event: Event, rate: float) -> slice:
    """What an event covers of something that comes `rate` times a second."""
    return slice(round(event.onset * rate), round(event.offset * rate))
