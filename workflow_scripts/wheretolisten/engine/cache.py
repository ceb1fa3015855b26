"""Key-value caches: one whose memory is taken once, and one that passes see and leave as it is."""

import torch
from transformers import Cache, DynamicLayer


class _Layer(DynamicLayer):
    """Keys and values of one block, [row, head, column, channel], in memory for `n_columns` columns.

    As a `DynamicLayer`, except that new columns are written behind the others, where that one copies them all into new
    memory for every pass.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__()
        self._n_columns = n_columns

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self._all = [
            states.new_empty(*states.shape[:2], self._n_columns, states.shape[3])
            for states in (key_states, value_states)
        ]
        self.keys, self.values = (states[:, :, :0] for states in self._all)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        first = self.keys.shape[2]
        after = first + key_states.shape[2]
        for states, new in zip(self._all, (key_states, value_states), strict=True):
            states[:, :, first:after] = new
        self.keys, self.values = (states[:, :, :after] for states in self._all)
        return self.keys, self.values


def with_room(n_layers: int, n_columns: int) -> Cache:
    """An empty cache for a text stack of `n_layers` blocks and at most `n_columns` columns."""
    return Cache(layers=[_Layer(n_columns) for _ in range(n_layers)])


class _Kept(DynamicLayer):
    """Keys and values of one block that others come behind for the time of a block, and are gone."""

    def __init__(self, layer: DynamicLayer) -> None:
        super().__init__()
        self.keys, self.values = layer.keys, layer.values
        self.dtype, self.device, self.is_initialized = layer.dtype, layer.device, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.cat([self.keys, key_states], dim=2), torch.cat([self.values, value_states], dim=2)


def kept(cache: Cache) -> Cache:
    """What a cache holds now, for any number of passes that add nothing to it."""
    return Cache(layers=[_Kept(layer) for layer in cache.layers])
