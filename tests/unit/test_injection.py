"""What steering does to a state, against numbers worked out by hand."""

import typing

import pytest
import torch

from wheretolisten.config.probe import Steering
from wheretolisten.engine.injection import describe, steer, steering_hooks
from wheretolisten.engine.sites import SITES

STATE = torch.tensor([[3.0, 4.0, 12.0]])
VECTOR = torch.tensor([0.0, 2.0, 0.0])
OPERATORS = typing.get_args(Steering.model_fields["operator"].annotation)


def steered(operator, scale, state=STATE, vector=VECTOR, support=None, preserve_norm=False):
    steering = Steering(operator=operator, preserve_norm=preserve_norm)
    return steer(state, vector, scale, steering, None if support is None else torch.tensor(support, dtype=torch.bool))


def test_the_configuration_names_the_sites_of_the_table():
    assert sorted(typing.get_args(Steering.model_fields["site"].annotation)) == sorted(SITES)


@pytest.mark.parametrize(
    ("operator", "scale", "expected"),
    [
        ("add", 0.5, [3.0, 5.0, 12.0]),
        ("ablate", 1.0, [3.0, 0.0, 12.0]),
        ("ablate", 0.25, [3.0, 3.0, 12.0]),
        ("set", 3.0, [3.0, 6.0, 12.0]),
        ("set", -1.0, [3.0, -2.0, 12.0]),
        ("scale", 0.5, [3.0, 2.0, 12.0]),
        ("scale", -2.0, [3.0, -8.0, 12.0]),
    ],
)
def test_operators_change_the_part_along_the_vector(operator, scale, expected):
    torch.testing.assert_close(steered(operator, scale), torch.tensor([expected]))
    restored = steered(operator, scale, preserve_norm=True)
    expected = torch.tensor([expected])
    torch.testing.assert_close(restored, expected * 13 / expected.norm())
    # The vector's sign and length count where it is added or set, not where its direction is removed or scaled.
    other = steered(operator, scale, vector=-3 * VECTOR)
    if operator in ("ablate", "scale"):
        torch.testing.assert_close(other, expected)
    else:
        assert float(other[0, 1]) == pytest.approx((4.0 if operator == "add" else 0.0) - 6 * scale)


def test_half_precision_is_steered_in_float32():
    torch.manual_seed(0)
    state, vector = torch.randn(4, 64, dtype=torch.bfloat16), torch.randn(64)
    for operator in OPERATORS:
        found = steered(operator, 0.3, state, vector)
        assert found.dtype == torch.bfloat16
        assert torch.equal(found, steered(operator, 0.3, state.float(), vector).bfloat16())


def test_a_support_keeps_every_bit_outside_of_it():
    torch.manual_seed(0)
    state, vector = torch.randn(5, 64), torch.randn(64)
    support = torch.zeros(64, dtype=torch.bool)
    support[8:24] = True
    for operator in OPERATORS:
        for preserve_norm in (False, True):
            if operator == "scale" and preserve_norm:
                continue
            found = steered(operator, 0.3, state, vector, support.tolist(), preserve_norm)
            assert torch.equal(found[:, ~support], state[:, ~support])
            inside = state[:, support], vector[support]
            expected = 0.3 * inside[0] if operator == "scale" else steered(operator, 0.3, *inside, None, preserve_norm)
            torch.testing.assert_close(found[:, support], expected)


@pytest.mark.parametrize("preserve_norm", [False, True])
@pytest.mark.parametrize("operator", OPERATORS)
def test_what_changes_nothing_changes_no_bit(operator, preserve_norm):
    torch.manual_seed(0)
    state, vector = torch.randn(7, 48) * torch.logspace(-3, 3, 7)[:, None], torch.randn(48)
    nothing = [steered(operator, 2.0, state, vector, [False] * 48, preserve_norm)]
    if operator != "cap":  # which is about no vector
        nothing.append(steered(operator, 2.0, state, torch.zeros(48), preserve_norm=preserve_norm))
    identity = {"add": 0.0, "ablate": 0.0, "scale": 1.0, "cap": 0.0}.get(operator)
    if identity is not None:
        nothing.append(steered(operator, identity, state, vector, preserve_norm=preserve_norm))
    for found in nothing:
        assert torch.equal(found, state)
    assert not torch.equal(steered(operator, 2.0, state, vector, preserve_norm=preserve_norm), state)


def test_lengths_are_restored_and_what_has_none_left_stays_zero():
    torch.manual_seed(0)
    state, vector = torch.randn(6, 48) * torch.logspace(-3, 3, 6)[:, None], torch.randn(48)
    for operator in OPERATORS:
        found = steered(operator, 0.7, state, vector, preserve_norm=True)
        torch.testing.assert_close(found.norm(dim=-1), state.norm(dim=-1), rtol=1e-5, atol=0)
    ablated = steered("ablate", 1.0, state, vector, preserve_norm=True)
    assert ((ablated @ vector).abs() <= 1e-5 * state.norm(dim=-1) * vector.norm()).all()
    along = torch.tensor([[0.0, 4.0, 0.0]])
    assert torch.equal(steered("ablate", 1.0, along, VECTOR, preserve_norm=True), torch.zeros(1, 3))


def test_hooks_change_the_named_tokens_of_the_named_queries_by_their_own_vectors():
    torch.manual_seed(0)
    hidden, vectors = torch.randn(2, 5, 8), torch.randn(3, 2, 8)
    tokens = torch.tensor([[False, True, False, True, False], [False, False, False, False, True]])
    owner = torch.tensor([[-1, 0, 0, 1, -1], [-1, -1, 2, 2, 2]])
    support = torch.rand(3, 2, 8) > 0.5
    steering = Steering(scale=0.5, layers=[1], preserve_norm=False)
    hooks = steering_hooks(vectors, tokens, steering, owner, support)
    assert list(hooks) == [1]
    moved = hooks[1](hidden) - hidden
    expected = torch.zeros_like(hidden)
    for query, at in enumerate([(0, 1), (0, 3), (1, 4)]):
        expected[at] = 0.5 * vectors[query, 1] * support[query, 1]
    assert torch.equal(moved[~tokens], expected[~tokens])
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-6)
    whole = steering_hooks(vectors[:2], None, steering, None, support[:2])[1](hidden) - hidden
    torch.testing.assert_close(whole, (0.5 * vectors * support)[:2, 1, None].expand(2, 5, 8), rtol=0, atol=1e-6)


def test_a_description_says_operator_and_site():
    expected = {
        "add": "steering adds 2 times the vector (of its own length) to",
        "ablate": "steering takes 2 times the part along the vector out of",
        "set": "steering sets the component along the vector to 2 times the vector's length in",
        "scale": "steering multiplies the part along the vector, or the coordinates of a support, by 2 in",
        "cap": "steering takes 2 of what is positive in the coordinates of a support out of",
    }
    assert set(expected) == set(OPERATORS)
    for operator, words in expected.items():
        for site, where in SITES.items():
            layers, blocks = (
                ("all", "4 of 4 decoder blocks (0-3)") if where.in_block else ("last", "1 of 4 decoder blocks (3)")
            )
            text = describe(Steering(scale=2, operator=operator, site=site, layers=layers), 4)
            assert text.startswith(f"{words} {where.words} {blocks} at every token")
    assert len({site.words for site in SITES.values()}) == len(SITES)
