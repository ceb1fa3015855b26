"""Attention of the passes about each query of a study, and what it is held against."""

from collections.abc import Mapping, Sequence

import numpy as np

from wheretolisten.config.positions import ABSENT, is_absent, others_of
from wheretolisten.config.probe import Localization
from wheretolisten.localization.references import absent_passes, absent_reference
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
        return absent_reference(
            self.about_absent(name, sample_id, position),
            self._about_others(name, sample_id, position, settings),
            self.n_audio_tokens(sample_id),
            settings,
        )

    def absent(self, name: str, sample_id: str, position: str, settings: Localization) -> list[np.ndarray]:
        """The passes that a reference of absent sounds is averaged over, [layer, audio_token] each."""
        others = self._about_others(name, sample_id, position, settings)
        return absent_passes(self.about_absent(name, sample_id, position), others, settings)

    def _about_others(self, name: str, sample_id: str, position: str, settings: Localization) -> list[np.ndarray]:
        """As many passes about the sample's other events as are mistaken for absent sounds."""
        if not settings.absent_mistaken:
            return []
        events = {event for places in self._places.values() for each, event in places if each == name}
        return [self.of(name, sample_id, other) for other in others_of(position, events)[: settings.absent_mistaken]]

    def _absent_of(self, name: str) -> Sequence[str]:
        key = "" if name in self._unsteered_names else ABSENT
        return [event for each, event in self._places.get(key, ()) if each == name and is_absent(event)]

    def _find(self, name: str, position: str) -> tuple[Passes, int]:
        key = position
        if name in self._unsteered_names:
            key = ""
        elif is_absent(position):
            key = ABSENT
        return (self._steered[key] if key else self.unsteered), self._places[key][name, position]
