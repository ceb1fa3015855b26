"""Directions and supports found in planted data, and what misleads those who look for them."""

import numpy as np
import pytest
from pydantic import ValidationError
from safetensors.numpy import save_file

from wheretolisten.clips.randomness import generator
from wheretolisten.config.effects import Arm, Support
from wheretolisten.directions import builders, edits, supports
from wheretolisten.directions.features import read_features
from wheretolisten.effects.poles import Poles, build
from wheretolisten.errors import UserError

N_PAIRS, N_LAYERS, WIDTH = 200, 3, 64


def cosines(found, truth):
    return np.einsum("lw,lw->l", found, truth) / (np.linalg.norm(found, axis=-1) * np.linalg.norm(truth, axis=-1))


@pytest.fixture
def truth():
    planted = generator("truth").standard_normal((N_LAYERS, WIDTH))
    return planted / np.linalg.norm(planted, axis=-1, keepdims=True)


@pytest.fixture
def planted(truth):
    """Pairs that share their own offset, and a shift of length 3 along the truth that all have alike."""
    rng = generator("planted")
    offset = 4 * rng.standard_normal((N_PAIRS, N_LAYERS, WIDTH))
    noise = 0.5 * rng.standard_normal((2, N_PAIRS, N_LAYERS, WIDTH))
    return offset + noise[0] + 1.5 * truth, offset + noise[1] - 1.5 * truth


@pytest.mark.parametrize("how", ["mean", "pca", "svd", "probe"])
def test_a_planted_direction_is_found_with_its_sign_and_length(planted, truth, how):
    found = builders.BUILDERS[how](*planted, 1)
    # Pairs share an offset, which the probe cannot know of.
    assert (cosines(found, truth) > (0.6 if how == "probe" else 0.98)).all()
    if how != "probe":
        np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 3, rtol=0.05)
    np.testing.assert_allclose(builders.BUILDERS[how](*planted[::-1], 1), -found, atol=1e-4)


def test_a_probe_finds_what_is_planted_where_nothing_else_varies_much(truth):
    noise = 0.5 * generator("noise").standard_normal((2, N_PAIRS, N_LAYERS, WIDTH))
    assert (cosines(builders.probe(noise[0] + truth, noise[1] - truth), truth) > 0.9).all()


def test_centring_differences_throws_a_common_shift_away(planted, truth):
    """Why no arm has it: the shift that all pairs share is the mean, which centring removes."""
    differences = planted[0] - planted[1]
    centred = builders.svd_basis(differences - differences.mean(axis=0), 1)[:, 0]
    assert (np.abs(cosines(centred, truth)) < 0.5).all()
    assert (cosines(builders.pca(*planted), truth) > 0.98).all()


def test_unpaired_halves_find_it_less_well_than_pairs_do(planted, truth):
    unpaired = cosines(builders.mean_unpaired(*planted), truth)
    assert (unpaired > 0.3).all()
    assert (unpaired < cosines(builders.mean(*planted), truth)).all()


def test_svd_of_planted_rank_keeps_the_mean_and_refuses_too_many_components():
    rng = generator("rank")
    basis = np.linalg.qr(rng.standard_normal((WIDTH, 2)))[0].T
    amounts = np.stack([3 + 0.1 * rng.standard_normal(40), 2 * rng.standard_normal(40) + 1], axis=1)
    differences = (amounts @ basis)[:, None]
    zero = np.zeros_like(differences)
    np.testing.assert_allclose(builders.svd(differences, zero, 2), differences.mean(axis=0), atol=1e-10)
    assert np.linalg.norm(builders.svd(differences, zero, 1) - differences.mean(axis=0)) > 0.05
    with pytest.raises(UserError, match=r"^rank: 41 components of 40 pairs of width 64; lower it$"):
        builders.svd(differences, zero, 41)


def test_agreement_tells_a_direction_from_its_opposite_and_from_noise(planted, truth):
    assert (builders.agreement(truth, *planted) > 0.99).all()
    assert (builders.agreement(-truth, *planted) < 0.01).all()
    noise = generator("direction").standard_normal(truth.shape)
    noise -= np.einsum("lw,lw->l", noise, truth)[:, None] * truth
    assert (np.abs(builders.agreement(noise, *planted) - 0.5) < 0.15).all()


def test_gates_that_fire_more_often_at_one_pole_are_recovered():
    """p = 0.8 against 0.3 in a tenth of the units, 0.5 at both poles in the others (NPTI)."""
    rng = generator("gates")
    planted = np.zeros((2, 50), dtype=bool)
    planted[:, :5] = True
    often = np.where(planted, 0.8, 0.5), np.where(planted, 0.3, 0.5)
    shares = [rng.binomial(30, p, (60, 2, 50)) / 30 for p in often]
    delta = supports.firing(*shares)
    chosen = supports.choose(delta, Support(by="firing", keep=1.0, at_least=0.1, side="positive"))
    np.testing.assert_array_equal(chosen, planted)
    assert not supports.choose(delta, Support(by="firing", keep=1.0, at_least=0.1, side="negative")).any()
    tokens = rng.exponential(size=(5000, 2, 50))
    added = builders.fired(tokens, delta)
    np.testing.assert_allclose(added[0, 7] / np.percentile(tokens[:, 0, 7], 95), 1 / (1 + np.exp(1.5)), atol=0.05)
    np.testing.assert_allclose(builders.fired(tokens, np.full((2, 50), 0.15)), 0.5 * np.percentile(tokens, 95, axis=0))


def test_scores_of_coordinates_by_hand():
    positive = np.array([1.0, 2.0, 3.0, 6.0])[:, None, None]
    negative = np.array([0.0, 1.0, 2.0, 5.0])[:, None, None]
    spread = np.sqrt((positive.var(ddof=1) + negative.var(ddof=1)) / 2)
    np.testing.assert_allclose(supports.cohens_d(positive, negative), [[1 / spread]])
    poles = np.repeat([1, -1], 4)
    states = np.concatenate([positive, negative])[:, 0, 0]
    np.testing.assert_allclose(supports.correlation(positive, negative), [[np.corrcoef(poles, states)[0, 1]]])
    # 1 and 2 are at both poles, so that no threshold comes between them: above 0, all four and three others are told.
    np.testing.assert_allclose(supports.probe(positive, negative), [[1 / 8]])
    np.testing.assert_allclose(supports.probe(negative, positive), [[-1 / 8]])
    constant = np.ones((4, 1, 1))
    for score in (supports.cohens_d, supports.correlation, supports.probe):
        assert score(constant, constant) == 0


def test_the_best_threshold_is_that_of_all_thresholds():
    rng = generator("thresholds")
    positive, negative = rng.integers(0, 6, (2, 15, 2, 4)).astype(float) + np.array([0.5, 0])[:, None, None, None]
    found = supports.probe(positive, negative)
    for layer, unit in np.ndindex(2, 4):
        cuts = np.arange(-0.75, 7, 0.25)
        right = [((positive[:, layer, unit] > c).sum() + (negative[:, layer, unit] < c).sum()) / 30 for c in cuts]
        assert np.isclose(abs(found[layer, unit]), max(abs(share - 0.5) for share in right))


def test_supports_hold_as_many_coordinates_as_asked_for_and_of_the_side():
    scores = generator("scores").standard_normal((4, 50))
    for side, of_side in (("both", np.abs(scores)), ("positive", scores), ("negative", -scores)):
        chosen = supports.choose(scores, Support(by="correlation", keep=0.1, side=side))
        assert chosen.sum() == 20
        assert of_side[chosen].min() >= of_side[~chosen].max()
    drawn = supports.draw((4, 50), Support(by="random", keep=0.1), generator("a"))
    assert drawn.sum() == 20
    assert (drawn != supports.draw((4, 50), Support(by="random", keep=0.1), generator("b"))).any()
    np.testing.assert_array_equal(drawn, supports.draw((4, 50), Support(by="random", keep=0.1), generator("a")))


def test_the_head_that_tells_the_poles_apart_is_kept_whole():
    rng = generator("heads")
    positive, negative = rng.standard_normal((2, 50, 3, 4 * 8))
    positive[:, 1, 16:24] += 1
    negative[:, 1, 16:24] -= 1
    scores = supports.of_heads(positive, negative, 4)
    assert scores.argmax() == 4 + 2
    assert scores[1, 2] > 0.45
    states = Poles(positive, negative, positive, negative, positive[:0])
    arm = Arm(support={"by": "heads", "keep": 1 / 12}, steering={"site": "heads"})
    expected = np.zeros((3, 32), bool)
    expected[1, 16:24] = True
    np.testing.assert_array_equal(build(states, arm, "iti", 0, n_heads=4).support, expected)


def write_features(path, width=6, metadata=None, **tensors):
    given = {"W_enc": np.eye(width), "W_dec": np.eye(width), "b_enc": np.zeros(width), "b_dec": np.zeros(width)}
    save_file({name: each for name, each in (given | tensors).items() if each is not None}, path, metadata)
    return str(path)


def test_directions_among_features_that_are_the_states_are_directions_of_states(tmp_path):
    """The identity as an autoencoder, of states that are positive; a planted dictionary below."""
    positive, negative = 5 + generator("features").standard_normal((2, 20, 3, 6))
    states = Poles(positive, negative, positive, negative, positive[:0])
    arm = Arm(layers=[1], features=write_features(tmp_path / "identity.safetensors"))
    found, plain = build(states, arm, "sae", 0), build(states, Arm(), "mean", 0)
    np.testing.assert_allclose(found.vectors[1], plain.vectors[1], rtol=1e-5)
    assert not found.vectors[[0, 2]].any()
    assert found.support is None


def test_a_planted_feature_is_the_support_and_nothing_added_loses_nothing(tmp_path):
    rng = generator("dictionary")
    dictionary = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    path = write_features(
        tmp_path / "sae.safetensors",
        **{"W_enc": dictionary[:, :4].copy(), "W_dec": dictionary[:, :4].T.copy()},
        **{"b_enc": np.zeros(4), "b_dec": np.full(8, 0.3)},
        metadata={"apply_b_dec_to_input": "true"},
    )
    features = read_features(path)
    states = rng.standard_normal((20, 8))
    assert not features.step(np.zeros(4)).any()
    # Replacing states by their reconstruction changes them, though nothing was added (trap).
    assert np.abs(features.decode(features.encode(states)) - states).max() > 0.1
    z = np.abs(rng.standard_normal((20, 4)))
    np.testing.assert_allclose(features.encode(features.decode(z)), z, atol=1e-10)
    shifted = z.copy()
    shifted[:, 2] += 3
    both = [features.decode(each)[:, None].repeat(2, axis=1) for each in (shifted, z)]
    arm = Arm(layers=[0], features=path, support={"by": "cohens_d", "keep": 0.25})
    found = build(Poles(*both, *both, both[0][:0]), arm, "sae", 0)
    np.testing.assert_allclose(found.vectors[0], 3 * dictionary[:, 2], atol=1e-5)


def test_files_that_are_no_autoencoders_are_refused(tmp_path):
    (tmp_path / "text").write_text("no tensors")
    for path, message in (
        (tmp_path / "text", "it is no safetensors file"),
        (
            write_features(tmp_path / "a", b_enc=None),
            "the tensor b_enc is missing; it takes W_enc, W_dec",
        ),
        (write_features(tmp_path / "b", W_dec=np.zeros((5, 6))), r"\[width, feature\] and \[feature, width\]"),
    ):
        with pytest.raises(UserError, match=message):
            read_features(path)
    states = np.ones((4, 2, 7))
    arm = Arm(layers=[0], features=write_features(tmp_path / "c"))
    with pytest.raises(UserError, match="its states are 6 wide, those of the model 7; give an autoencoder of"):
        build(Poles(states, states, states, states, states[:0]), arm, "sae", 0)
    with pytest.raises(ValidationError, match="an autoencoder is of one block; name it"):
        Arm(features="x")


def test_a_weight_is_edited_where_something_is_asked_of_it_and_stays_elsewhere():
    rng = generator("edit")
    weight = rng.standard_normal((40, 12))
    forget, retain = rng.standard_normal((2, 10, 40))
    retain[:, :20], forget[:, 20:] = 0, 0  # keys that have nothing in common
    shift = rng.standard_normal(12)
    inputs = np.concatenate([forget, retain])
    targets = np.concatenate([forget @ weight + 2 * shift, retain @ weight])
    edited = edits.update(weight, inputs, targets, 1e-8)
    np.testing.assert_allclose(forget @ edited - forget @ weight, np.broadcast_to(2 * shift, (10, 12)), atol=1e-6)
    np.testing.assert_allclose(retain @ edited, retain @ weight, atol=1e-6)
    np.testing.assert_array_equal(edits.update(weight, inputs, inputs @ weight, 0.1), weight)
    # The published form solves its equations, and forgets the weight where it has seen nothing (trap).
    scratch = edits.from_scratch(inputs, inputs @ weight, 0.1)
    np.testing.assert_allclose(
        (inputs.T @ inputs + 0.1 * np.eye(40)) @ scratch, inputs.T @ (inputs @ weight), atol=1e-8
    )
    unseen = np.linalg.svd(inputs)[2][20:]
    assert np.abs(unseen @ scratch).max() < 1e-8 < 0.1 < np.abs(unseen @ weight).max()
    np.testing.assert_allclose(unseen @ edited, unseen @ weight, atol=1e-8)
