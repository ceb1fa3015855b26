"""Which clips a sample is made of, and when."""

from collections import Counter

import pytest

from wheretolisten.benchmark.composition import Composer
from wheretolisten.clips.records import Clip
from wheretolisten.config.benchmarks import Composition
from wheretolisten.errors import UserError

RATE = 16_000
DOMAINS = {"animals": ["dog", "cat", "cow", "hen"], "everyday": ["bell", "horn", "rain"]}


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
