"""The loop of a job that runs a model: what is loaded ahead and written behind the work on a batch."""

import threading
import time

import pytest
import torch

from wheretolisten import jobs
from wheretolisten.engine.meter import Meter


class Engine:
    """Hears what is loaded, and counts."""

    adapter = None

    def __init__(self):
        self.meter = Meter(torch.device("cpu"))

    def hear(self, recordings):
        return recordings


class Batch(jobs.Batch):
    def recordings(self, adapter):
        return self.load(self)


class Result:
    """Keeps parts in memory; `full` is the first part that it has no room for."""

    def __init__(self, there=(), full=None):
        self.parts, self.full, self.merged = dict.fromkeys(there, "old"), full, None

    def has(self, part):
        return part in self.parts

    def write(self, part, content):
        if part == self.full:
            raise OSError(f"no room for part {part}")
        self.parts[part] = content

    def merge(self, n_parts, keep_parts):
        assert keep_parts
        assert sorted(self.parts) == list(range(n_parts))
        if self.full == "merge":
            raise OSError("no room for the result")
        self.merged = [self.parts[part] for part in range(n_parts)]

    def remove_parts(self):
        assert self.merged is not None
        self.parts = {}


def run(result, n_batches, load, work=lambda loaded: loaded):
    engine = Engine()
    saver = jobs.Saver([result], engine.meter)
    batches = [Batch(number, ["a", "b"], load) for number in range(n_batches)]
    for batch, loaded in jobs.unfinished(batches, saver, engine):
        saver.write(batch.number, [work(loaded)])
    saver.merge(n_batches)
    return engine.meter


def test_a_job_goes_on_after_the_parts_that_are_there():
    result = Result(there=[0, 2])
    meter = run(result, 4, lambda batch: f"new {batch.number}")
    assert result.merged == ["old", "new 1", "old", "new 3"]
    assert meter.n_samples == 4
    assert meter.seconds["store"] > 0


def test_the_next_batch_is_loaded_while_this_one_is_worked_on():
    next_is_loaded = {number: threading.Event() for number in range(4)}

    def load(batch):
        next_is_loaded[batch.number - 1 if batch.number else 3].set()
        return batch.number

    def work(number):
        # Would wait for ever if loading came after the work.
        assert number == 3 or next_is_loaded[number].wait(timeout=20)
        return number

    result = Result()
    run(result, 4, load, work)
    assert result.merged == [0, 1, 2, 3]


def test_a_batch_that_cannot_be_loaded_costs_none_of_those_before_it():
    def load(batch):
        if batch.number == 2:
            raise ValueError("batch 2 is damaged")
        return batch.number

    result = Result()
    with pytest.raises(ValueError, match="batch 2 is damaged"):
        run(result, 4, load)
    deadline = time.monotonic() + 20
    while 1 not in result.parts and time.monotonic() < deadline:
        time.sleep(0.01)  # the thread may still be writing
    assert result.parts == {0: 0, 1: 1}


@pytest.mark.parametrize("full", [1, 3])
def test_a_part_that_cannot_be_written_ends_the_job_before_it_is_joined(full):
    result = Result(full=full)
    with pytest.raises(OSError, match=f"no room for part {full}"):
        run(result, 4, lambda batch: batch.number)
    assert result.merged is None
    assert set(result.parts) >= set(range(full))


def test_a_part_counts_as_there_when_every_result_has_it():
    first, second, engine = Result(there=[0, 1]), Result(there=[1]), Engine()
    saver = jobs.Saver([first, second], engine.meter)
    for batch, loaded in jobs.unfinished(
        [Batch(number, ["a"], lambda b: b.number) for number in range(2)], saver, engine
    ):
        saver.write(batch.number, [f"first {loaded}", f"second {loaded}"])
    saver.merge(2)
    assert (first.merged, second.merged) == (["first 0", "old"], ["second 0", "old"])


def test_no_part_goes_before_every_result_is_there():
    first, second, engine = Result(), Result(full="merge"), Engine()
    saver = jobs.Saver([first, second], engine.meter)
    for part in range(2):
        saver.write(part, [part, part])
    with pytest.raises(OSError, match="no room for the result"):
        saver.merge(2)
    assert first.parts == second.parts == {0: 0, 1: 1}
    second.full = None
    saver.merge(2)
    assert first.parts == second.parts == {}
