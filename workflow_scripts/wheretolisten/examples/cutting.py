"""Where a clip that is longer than its event is cut: where there is sound to be heard."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from wheretolisten.clips.audibility import audible
from wheretolisten.clips.randomness import generator
from wheretolisten.config.examples import Composition
from wheretolisten.errors import UserError
from wheretolisten.examples.composition import Plan


def cut_where_heard(plan: Plan, clips: Sequence[np.ndarray], settings: Composition) -> tuple[Plan, list[float]]:
    """Move the cuts of a plan that would leave too little sound to be heard.

    A cut is good if at least half as much is audible as in the clip's best cut of that length. A good one stays;
    another is drawn anew among all good ones, from a stream of its own, so that nothing else of any sample changes.

    Parameters
    ----------
    plan
        The plan, its cuts drawn uniformly.
    clips
        Whole clips of the plan's events, int16 [frame] each.
    settings
        The composition that the plan was made from.

    Returns
    -------
    plan : Plan
        The same events at the same times, perhaps with other stretches of their clips.
    shares : list of float
        Share of each event's duration that is audible (see `clips.audibility`), above 0 and at most 1.

    Raises
    ------
    UserError
        If nothing of a clip can be heard.
    """
    events, shares = [], []
    for number, (event, clip) in enumerate(zip(plan.events, clips, strict=True)):
        heard = np.concatenate([[0], np.cumsum(audible(clip))])  # audible frames before each frame
        amounts = heard[event.n_frames :] - heard[: len(heard) - event.n_frames]  # in every possible cut
        if not amounts.any():
            raise UserError(
                f"clip {event.clip.clip_id!r} ({event.clip.label}) is silent, so there is nothing to find; take its "
                "file out of the library and prepare the clips again"
            )
        good = 2 * amounts >= amounts.max()
        start = event.clip_start
        if not good[start]:
            rng = generator("cut", settings.seed, plan.index, number)
            start = int(rng.choice(np.flatnonzero(good)))
        events.append(replace(event, clip_start=start))
        shares.append(amounts[start] / event.n_frames)
    return replace(plan, events=tuple(events)), shares
