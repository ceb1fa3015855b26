"""Attention of the passes about each query of a study, and what it is held against."""

from collections.abc import Mapping, Sequence

import numpy as np

from wheretolisten.config.positions import ABSENT, order_positions
from wheretolisten.config.probe import Localization
from wheretolisten.localization.references import absent_passes, reference_of
from wheretolisten.store import Passes


class Readings:
    """Passes of a model in a study, by the query that they are about.

    Parameters
    ----------
    unsteered
        Passes that are not steered.
    steered
        Event → passes that are steered for it; under `ABSENT` those for sounds that are absent.
    """

    def __init__(self, unsteered: Passes, steered: Mapping[str, Passes]) -> None:
        self.unsteered, self._steered = unsteered, steered
        self._unsteered_names = set(unsteered.names)
        self._places = {
            key: {each: number for number, each in enumerate(passes.passes)}
            for key, passes in {"": unsteered, **steered}.items()
        }
        self._rows = {sample_id: row for row, sample_id in enumerate(unsteered.sample_id)}

    def n_audio_tokens(self, sample_id: str) -> int:
        """Real audio tokens of a sample."""
        return int(self.unsteered.n_audio_tokens[self._rows[sample_id]])

    def of(self, name: str, sample_id: str, position: str = "") -> np.ndarray:
        """A pass about an event, or about the whole sample, [layer, audio_token]."""
        passes, number = self._find(name, position)
        return passes.values[self._rows[sample_id], number]

    def about_absent(self, name: str, sample_id: str, position: str) -> list[np.ndarray]:
        """The passes of the same name about sounds that the sample does not hold, [layer, audio_token] each.

        One whose label is that which steers the pass about the event is none of them: it is the same pass.
        """
        row, (passes, number) = self._rows[sample_id], self._find(name, position)
        label = passes.label[row, number]
        found = [self._find(name, sound) for sound in self._absent_of(name)]
        return [each.values[row, n] for each, n in found if not label or each.label[row, n] != label]

    def reference(self, name: str, sample_id: str, position: str, settings: Localization) -> np.ndarray | None:
        """What the pass about an event is held against, [layer, audio_token]; None where no absent sound has one."""
        if settings.reference == "base":
            return self.of("base", sample_id)
        absent = self.absent(name, sample_id, position, settings)
        if not absent:
            return None
        return reference_of(absent, self.n_audio_tokens(sample_id), settings.absent_average)

    def absent(self, name: str, sample_id: str, position: str, settings: Localization) -> list[np.ndarray]:
        """The passes that a reference of absent sounds is averaged over, [layer, audio_token] each."""
        others = [self.of(name, sample_id, other) for other in self._others(name, position)[: settings.absent_mistaken]]
        return absent_passes(self.about_absent(name, sample_id, position), others, settings)

    def _others(self, name: str, position: str) -> list[str]:
        """The sample's other events, from the next one on, in a circle."""
        unsteered = {event for each, event in self.unsteered.passes if each == name}
        events = unsteered if name in self._unsteered_names else self._steered
        positions = order_positions(event for event in events if not event.startswith(ABSENT))
        here = positions.index(position)
        return positions[here + 1 :] + positions[:here]

    def _absent_of(self, name: str) -> Sequence[str]:
        key = "" if name in self._unsteered_names else ABSENT
        return [event for each, event in self._places.get(key, ()) if each == name and event.startswith(f"{ABSENT}-")]

    def _find(self, name: str, position: str) -> tuple[Passes, int]:
        key = position
        if name in self._unsteered_names:
            key = ""
        elif position.startswith(f"{ABSENT}-"):
            key = ABSENT
        return (self._steered[key] if key else self.unsteered), self._places[key][name, position]
