"""Batches that fit into memory: as large as allowed, halved whenever the device runs out."""

import logging
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size

from wheretolisten.errors import UserError

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Batches:
    """Cuts work into batches; after an out-of-memory error it goes on with half the size, from there to the end.

    Parameters
    ----------
    what
        What is counted, in the plural, for messages.
    limit
        Largest batch; None: everything in one. An item that counts for more makes a batch of its own.
    """

    def __init__(self, what: str, limit: int | None = None) -> None:
        self._what, self.limit = what, limit

    def run(self, n: int, function: Callable[[slice], T], each: int = 1) -> list[T]:
        """Call `function` with consecutive slices of 0 … n-1 and return what it returned, in order.

        Every item counts for `each`.

        Raises
        ------
        UserError
            If a single item does not fit into memory.
        """
        results, done = [], 0
        while done < n:
            size = n - done
            if self.limit:
                # As few as the limit allows, and all of one size: a small one takes nearly as long as a large one.
                size = math.ceil(size / math.ceil(size / max(1, self.limit // each)))
            fits = True
            try:
                results.append(function(slice(done, done + size)))
            except RuntimeError as error:
                if not (isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)):
                    raise
                message = str(error).strip().split("\n")[0]
                fits = False
            if fits:
                done += size
                continue
            # Only here, with the exception gone, are the tensors of the failed pass free.
            clear_device_cache(garbage_collection=True)
            if size == 1:
                raise UserError(
                    f"the device runs out of memory even with {each} of the {self._what} at a time ({message}); "
                    "use a device with more memory, shorter recordings or a smaller dtype"
                )
            self.limit = size // 2 * each
            _log.warning("out of memory with %d %s in a pass, going on with %d", size * each, self._what, self.limit)
        return results
