"""Which clips a sample is made of, and when."""

from collections import Counter
from itertools import pairwise

import pytest

from wheretolisten.clips.records import Clip
from wheretolisten.config.examples import Composition
from wheretolisten.errors import UserError
from wheretolisten.examples.composition import Composer

RATE = 16_000
DOMAINS = {"animals": ["dog", "cat", "cow", "hen"], "everyday": ["bell", "horn", "rain"]}


MANY = {"animals": [f"sound {number:02d}" for number in range(16)]}
OVERLAP = {"level_db": -6, "fraction": 0.4}


def library(seconds=(4.6, 5.0, 5.4), domains=DOMAINS) -> list[Clip]:
    return [
        Clip(f"{label}-{number}", label, domain, f"{label}-{number}", "", round(length * RATE), "")
        for domain, labels in domains.items()
        for label in labels
        for number, length in enumerate(seconds)
    ]


def test_a_sample_is_three_labels_of_one_domain_with_gaps_between():
    composer = Composer(Composition(), library())
    for index in range(60):
        plan = composer.plan(index)
        assert plan.sample_id == f"{index:05d}"
        assert len({event.clip.label for event in plan.events}) == 3
        assert {event.clip.domain for event in plan.events} == {["animals", "everyday"][index % 2]}
        first, second, third = plan.events
        assert first.onset == 0
        assert second.onset == first.offset + RATE
        assert third.onset == second.offset + RATE
        assert plan.n_frames == third.offset
        for event in plan.events:
            assert 4.5 * RATE <= event.n_frames <= 5.5 * RATE
            assert event.n_frames == event.clip.n_frames
            assert event.clip_start == 0


def test_a_sample_depends_on_nothing_but_settings_clips_and_index():
    clips = library()
    composer = Composer(Composition(), clips)
    forwards = [composer.plan(index) for index in range(20)]
    other = Composer(Composition(), clips[::-1])
    assert [other.plan(index) for index in reversed(range(20))] == forwards[::-1]
    assert Composer(Composition(seed=1), clips).plan(3) != forwards[3]


def test_every_label_is_heard_equally_often_at_every_position():
    composer = Composer(Composition(), library())
    counts = Counter(
        (position, event.clip.label)
        for index in range(2 * 12)
        for position, event in enumerate(composer.plan(index).events)
    )
    assert all(counts[position, label] == 3 for position in range(3) for label in DOMAINS["animals"])
    assert all(counts[position, label] == 4 for position in range(3) for label in DOMAINS["everyday"])


def test_short_clips_are_left_out_and_long_ones_trimmed():
    composer = Composer(Composition(), library(seconds=(4.4, 9.0)))
    events = [event for index in range(50) for event in composer.plan(index).events]
    assert {event.clip.n_frames for event in events} == {9 * RATE}
    for event in events:
        assert 4.5 * RATE <= event.n_frames <= 5.5 * RATE
        assert 0 <= event.clip_start <= 9 * RATE - event.n_frames
    durations = sorted(event.n_frames / RATE for event in events)
    assert durations[0] < 4.6
    assert durations[-1] > 5.4
    assert len({event.clip_start for event in events}) > 100


def test_the_exact_variant_has_events_of_exactly_one_duration():
    composer = Composer(Composition(clip_seconds=(5.0, 5.0)), library())
    for index in range(20):
        plan = composer.plan(index)
        assert [event.n_frames for event in plan.events] == [80_000] * 3
        assert [event.onset for event in plan.events] == [0, 96_000, 192_000]


def test_mixed_domains():
    composer = Composer(Composition(domains="mixed"), library())
    plans = [composer.plan(index) for index in range(40)]
    assert all(len({event.clip.label for event in plan.events}) == 3 for plan in plans)
    assert any(len({event.clip.domain for event in plan.events}) == 2 for plan in plans)


def test_no_gap():
    first, second, _ = Composer(Composition(gap_seconds=0), library()).plan(0).events
    assert second.onset == first.offset


def test_a_domain_with_too_few_labels_is_refused():
    few = {"animals": ["dog", "cat"], "everyday": ["bell", "horn", "rain"]}
    with pytest.raises(UserError, match=r"domain 'animals' has 2 label.*\(cat, dog\).*needs 3.*domains: mixed"):
        Composer(Composition(), library(domains=few))
    Composer(Composition(domains="mixed"), library(domains=few))


def test_a_domain_whose_clips_are_too_short_is_refused():
    clips = [clip for clip in library() if clip.label != "rain" or clip.n_frames < 4.7 * RATE]
    settings = Composition(clip_seconds=(5.0, 5.0))
    with pytest.raises(UserError, match=r"domain 'everyday' has 2 label.*5 s \(bell, horn; too short.*rain\)"):
        Composer(settings, clips)


def test_a_label_in_two_domains_or_no_clip_at_all_is_refused():
    with pytest.raises(UserError, match="'rain' is in the domains"):
        Composer(Composition(), library(domains={**DOMAINS, "animals": ["dog", "cat", "cow", "rain"]}))
    with pytest.raises(UserError, match="empty"):
        Composer(Composition(), [])


@pytest.mark.parametrize(
    ("changes", "positions"),
    [
        ({"n_events": 2}, ("event-1", "event-2")),
        ({"n_events": 3}, ("begin", "middle", "end")),
        ({"n_events": 5, "gap_seconds": (0.5, 2.0)}, tuple(f"event-{number}" for number in range(1, 6))),
        ({"n_events": 8}, tuple(f"event-{number}" for number in range(1, 9))),
        ({"n_events": 2, "overlap": {"n_events": 1}}, ("event-1", "event-2", "event-3")),
        ({"n_events": 8, "overlap": OVERLAP}, tuple(f"event-{number}" for number in range(1, 17))),
    ],
)
def test_any_number_of_events(changes, positions):
    settings = Composition(**changes)
    assert settings.positions == positions
    clips = library(seconds=(4.6, 9.0), domains=MANY)
    composer = Composer(settings, clips)
    for index in range(40):
        plan = composer.plan(index)
        assert len(plan.events) == len({event.clip.label for event in plan.events}) == len(positions)
        assert plan.n_frames == max(event.offset for event in plan.events) <= settings.longest_seconds * RATE
        shortest, longest = settings.gap_range
        for event, following in pairwise(plan.in_sequence):
            assert shortest * RATE <= following.onset - event.offset <= longest * RATE
    assert len(plan.in_sequence) == settings.n_events
    assert composer.plan(7) == Composer(settings, clips[::-1]).plan(7)


def test_unequal_gaps_are_drawn_anew_and_move_nothing_else():
    plans = [Composer(Composition(gap_seconds=(0.25, 3.0)), library(seconds=(9.0,))).plan(n) for n in range(60)]
    equal = Composer(Composition(), library(seconds=(9.0,)))
    gaps = [(b.onset - a.offset) / RATE for plan in plans for a, b in pairwise(plan.events)]
    assert len(set(gaps)) == len(gaps) == 120
    assert 0.25 <= min(gaps) < 0.4
    assert 2.8 < max(gaps) <= 3.0
    for plan in plans:
        for event, other in zip(plan.events, equal.plan(plan.index).events, strict=True):
            assert (event.clip, event.clip_start, event.n_frames) == (other.clip, other.clip_start, other.n_frames)


@pytest.mark.parametrize("n_events", [None, 2])
def test_second_sounds_lie_within_events_and_change_none(n_events):
    clips = library(seconds=(4.6, 9.0), domains=MANY)
    composer = Composer(Composition(overlap=OVERLAP | {"n_events": n_events}), clips)
    plain = Composer(Composition(), clips)
    hosts, starts = Counter(), []
    for index in range(60):
        plan = composer.plan(index)
        assert plan.in_sequence == plain.plan(index).events
        seconds = plan.events[3:]
        assert len({event.mixed_into for event in seconds}) == len(seconds) == (n_events or 3)
        for event in seconds:
            host = plan.events[event.mixed_into]
            hosts[event.mixed_into] += 1
            assert host.onset <= event.onset < event.offset <= host.offset
            assert event.n_frames == round(0.4 * host.n_frames)
            assert 0 <= event.clip_start <= event.clip.n_frames - event.n_frames
            starts.append((event.onset - host.onset) / (host.n_frames - event.n_frames))
    # Which events have one is drawn, and where it lies in the event, too.
    assert set(hosts) == {0, 1, 2}
    assert min(starts) < 0.1
    assert max(starts) > 0.9
    # Every label is a second sound equally often, too: 16 samples are a block.
    block = Counter(event.clip.label for index in range(16) for event in composer.plan(index).events[3:])
    assert set(block.values()) == {n_events or 3}


def test_a_second_sound_is_no_longer_than_its_clip():
    clips = library(seconds=(4.5, 9.0), domains=MANY)
    plans = [Composer(Composition(overlap={"fraction": 0.95}), clips).plan(index) for index in range(40)]
    seconds = [(event, plan.events[event.mixed_into]) for plan in plans for event in plan.events[3:]]
    assert any(event.n_frames == event.clip.n_frames < round(0.95 * host.n_frames) for event, host in seconds)
    assert all(host.onset <= event.onset and event.offset <= host.offset for event, host in seconds)


def test_more_events_than_labels_are_refused():
    with pytest.raises(UserError, match=r"'animals' has 4 label.*needs 6; lower .* or n_events.*domains: mixed"):
        Composer(Composition(overlap={}), library())
