"""Measures of genotypes, against their definitions written as loops and against known cases."""

import numpy as np
import pytest

from hebae import evaluation
from hebae.errors import HebaeError, UndefinedMetric

NAN = np.nan


def simulate(n, frequencies, rng):
    return rng.binomial(2, frequencies, (n, len(frequencies))).astype(np.float32)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_frequencies_leave_out_missing_calls():
    x = [[0, 2, NAN], [1, NAN, NAN], [2, 2, NAN]]
    np.testing.assert_array_equal(evaluation.allele_frequencies(x), [0.5, 1, NAN])


def test_correlation_of_frequencies(rng):
    p = rng.uniform(0.05, 0.95, 300)
    x, y = simulate(2000, p, rng), simulate(2000, p, rng)
    assert evaluation.allele_frequency_correlation(x, y) > 0.99
    assert evaluation.allele_frequency_correlation(x, 2 - y) < -0.99
    with pytest.raises(UndefinedMetric, match="all equal"):
        evaluation.allele_frequency_correlation(x, np.ones_like(x))
    with pytest.raises(HebaeError, match=r"300 variants and .* 299"):
        evaluation.allele_frequency_correlation(x, y[:, 1:])


@pytest.mark.parametrize("values", [[[0, 3]], [[-1, 0]], [0, 1, 2]])
def test_what_is_no_genotype_is_refused(values):
    with pytest.raises(HebaeError, match=r"ranges from|has shape"):
        evaluation.allele_frequencies(values)


def test_linkage_is_the_squared_correlation_of_each_pair_in_its_bin(rng):
    x = simulate(30, np.full(9, 0.4), rng)
    x[rng.random(x.shape) < 0.1] = NAN
    x[:, 4] = 1  # does not vary
    positions = np.array([10, 40, 5, 90, 91, 10, 60, 20, 300])
    chromosomes = np.array(list("112112212"))
    edges = [0, 20, 50, 200]
    found = evaluation.linkage_decay(x, positions=positions, chromosomes=chromosomes, edges=edges)
    expected = [[], [], []]
    for i in range(9):
        for j in range(i):
            distance = abs(positions[i] - positions[j])
            bin = np.searchsorted(edges, distance) - 1
            if chromosomes[i] != chromosomes[j] or not 0 <= bin < 3 or 4 in (i, j):
                continue
            both = ~np.isnan(x[:, i] + x[:, j])
            r2 = np.corrcoef(x[both, i], x[both, j])[0, 1] ** 2
            expected[bin].append(r2 - (1 - r2) / (both.sum() - 2))
    assert found.pairs.tolist() == [len(r) for r in expected]
    assert min(found.pairs) > 0
    np.testing.assert_allclose(found.r2[0], [np.mean(r) for r in expected], rtol=1e-5)


def test_linkage_of_independent_variants_is_zero_on_average_and_decays_along_a_chromosome(rng):
    p = np.full(60, 0.5)
    independent = simulate(50, p, rng)
    # Haplotypes that switch between two founders, once in 10 variants on average.
    haplotypes = (rng.random((2, 400, 60)) < 0.1).cumsum(axis=2) % 2
    haplotypes = haplotypes ^ (rng.random((2, 400, 1)) < 0.5)
    linked = haplotypes.sum(axis=0).astype(np.float32)
    edges, positions = [0, 1, 5, 20, 50], np.arange(60)
    at_random = evaluation.linkage_decay(independent, positions=positions, edges=edges)
    assert abs(np.average(at_random.r2[0], weights=at_random.pairs)) < 0.002
    both = evaluation.linkage_decay(linked, independent[:, ::-1], positions=positions, edges=edges)
    near, *_, far = both.r2[0]
    assert near == pytest.approx(0.8**2, abs=0.05)  # correlation (1 - 2 * 0.1)^distance
    assert np.all(np.diff(both.r2[0]) < 0)
    assert far < 0.02
    assert both.difference == pytest.approx(np.mean(np.abs(both.r2[0] - both.r2[1])))
    few = evaluation.linkage_decay(linked, positions=positions, edges=edges, pairs=7)
    assert few.pairs.tolist() == [7, 7, 7, 7]


def test_pca_separates_populations_and_sees_where_samples_lie(rng):
    p, q = rng.uniform(0.1, 0.9, (2, 200))
    one, other = simulate(120, p, rng), simulate(120, q, rng)
    one[rng.random(one.shape) < 0.02] = NAN
    both = np.concatenate([one, other])
    train, real, fake = both[::2], both[1::4], both[3::4]
    same = evaluation.pca_overlap(train, real, fake)
    assert (same.real[:30, 0] > 0).all() != (same.real[30:, 0] > 0).all()
    assert same.coverage > 0.85
    assert same.distance < 0.4
    half = evaluation.pca_overlap(train, real, fake[:30])
    assert half.coverage == pytest.approx(0.5, abs=0.1)
    assert half.distance > same.distance
    assert 0.05 < same.explained[0] < 1
    with pytest.raises(UndefinedMetric, match="do not vary"):
        evaluation.pca_overlap(np.ones((5, 3)), np.ones((5, 3)), np.ones((5, 3)))


def test_distances_are_numbers_of_different_alleles(rng):
    x, y = simulate(5, np.full(40, 0.5), rng), simulate(4, np.full(40, 0.5), rng)
    x[rng.random(x.shape) < 0.2] = NAN
    expected = np.nanmean(np.abs(x[:, None] - y[None]), axis=2)
    np.testing.assert_allclose(evaluation.allele_distances(x, y), expected, rtol=1e-6)


def test_adversarial_accuracy_of_the_same_law_is_half_of_copies_zero_and_of_strangers_one(rng):
    p = rng.uniform(0.1, 0.9, 300)
    x, y = simulate(80, p, rng), simulate(100, p, rng)
    same = evaluation.adversarial_accuracy(x, y)
    assert abs(same.score.value - 0.5) < 4 * same.score.standard_error
    assert evaluation.adversarial_accuracy(x, x[::-1]).score.value == 0
    strangers = evaluation.adversarial_accuracy(x, simulate(80, 1 - p, rng))
    assert strangers[0].value == strangers.truth == strangers.synthetic == 1
    rounded = evaluation.adversarial_accuracy(x, np.tile(np.rint(2 * p), (80, 1)))
    assert (rounded.truth, rounded.synthetic) == (0, 1)  # near everybody, and all alike


def test_imputation_is_scored_on_hidden_calls_alone():
    truth = np.array([[0, 1, 2, NAN], [2, 2, 0, 1]])
    hidden = np.array([[True, True, False, False], [True, False, False, True]])
    imputed = np.array([[0, 0, 0, 0], [2, 0, 2, 1]])
    assert evaluation.imputation_accuracy(truth, imputed, hidden).value == 0.75
    drawn = evaluation.hide_calls(np.tile(truth, (200, 1)), 0.1)
    assert drawn.mean() == pytest.approx(0.1 * 7 / 8, abs=0.02)
    assert not drawn[::2, 3].any()
    with pytest.raises(UndefinedMetric, match="hidden"):
        evaluation.imputation_accuracy(truth, imputed, np.zeros_like(hidden))


def test_the_most_probable_genotype_is_the_mode_of_the_binomial():
    p = np.linspace(0.01, 0.99, 60)
    p = p[np.abs(p * 3 - np.rint(p * 3)) > 1e-6]
    modes = np.argmax([(1 - p) ** 2, 2 * p * (1 - p), p**2], axis=0)
    np.testing.assert_array_equal(evaluation.most_probable_genotypes([2 * p])[0], modes)
    most = evaluation.most_frequent_genotypes([[0, 2, NAN], [0, 2, 1], [1, 1, NAN]])
    assert most.tolist() == [0, 2, 1]


def test_pca_imputes_structured_genotypes_better_than_the_most_frequent(rng):
    p, q = rng.uniform(0.02, 0.98, (2, 300))
    x = np.concatenate([simulate(100, p, rng), simulate(100, q, rng)])
    train, test = x[::2], x[1::2]
    hidden = evaluation.hide_calls(test, 0.3)
    masked = np.where(hidden, NAN, test)
    filled = evaluation.pca_imputation(train, masked, 1)
    np.testing.assert_array_equal(filled[~hidden], test[~hidden])
    best = np.where(np.arange(100)[:, None] < 50, p, q)
    scores = [
        evaluation.imputation_accuracy(test, guess, hidden).value
        for guess in (
            evaluation.most_probable_genotypes(2 * best),
            evaluation.most_probable_genotypes(filled),
            np.tile(evaluation.most_frequent_genotypes(train), (100, 1)),
        )
    ]
    assert scores[0] + 0.01 > scores[1] > scores[2] + 0.05
    assert scores[1] > scores[0] - 0.03


G = np.random.default_rng(4).integers(0, 3, (12, 6))
MASK = G == 2
CALLS = {
    "adversarial_accuracy": lambda x: evaluation.adversarial_accuracy(x, G),
    "allele_distances": lambda x: evaluation.allele_distances(G, x),
    "allele_frequency_correlation": lambda x: evaluation.allele_frequency_correlation(x, G),
    "hide_calls": lambda x: evaluation.hide_calls(x, 0.5),
    "imputation_accuracy": lambda x: evaluation.imputation_accuracy(x, G, MASK),
    "linkage_decay": lambda x: evaluation.linkage_decay(x, positions=np.arange(6)),
    "most_frequent_genotypes": evaluation.most_frequent_genotypes,
    "most_probable_genotypes": evaluation.most_probable_genotypes,
    "pca_imputation": lambda x: evaluation.pca_imputation(x, G, 2),
    "pca_overlap": lambda x: evaluation.pca_overlap(G, x, G),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_what_holds_no_numbers_is_refused(call):
    for bad in ("abc", None, {"a": 1}, (row for row in G), G.astype(str), [[0, 1], [2]]):
        with pytest.raises(HebaeError, match=type(bad).__name__):
            call(bad)
    call(G.tolist())


@pytest.mark.parametrize(
    ("call", "facts"),
    [
        (lambda: evaluation.hide_calls(G, "half"), "share is 'half'"),
        (lambda: evaluation.hide_calls(G, 1.5), "share is 1.5"),
        (lambda: evaluation.imputation_accuracy(G, G[:5], MASK), "imputed has shape"),
        (lambda: evaluation.imputation_accuracy(G, G, MASK[:5]), "hidden has shape"),
        (lambda: evaluation.imputation_accuracy(G, G, None), "hidden is of type NoneType"),
        (lambda: evaluation.imputation_accuracy(G, G, G), "type of hidden is 'int64'"),
        (lambda: evaluation.pca_imputation(G, G, 0), "components is 0"),
        (lambda: evaluation.pca_imputation(G[:1], G, 2), "train holds 1 person"),
        (lambda: evaluation.pca_overlap(G[:, :4], G, G), "train has 4 variants and real 6"),
        (lambda: evaluation.pca_overlap(G, G, G, components=1.5), "components is 1.5"),
        (lambda: evaluation.linkage_decay(G, positions=np.arange(5)), r"positions has shape \(5,"),
        (lambda: evaluation.linkage_decay(G, positions="ab"), "positions is of type str"),
        (
            lambda: evaluation.linkage_decay(G, G[:, :5], positions=np.arange(6)),
            "variants is {5, 6}",
        ),
        (lambda: evaluation.linkage_decay(G, positions=np.arange(6), edges=[3, 1]), "edges"),
        (
            lambda: evaluation.linkage_decay(G, positions=np.arange(6), chromosomes=["1"]),
            "chromosomes has shape",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(call, facts):
    with pytest.raises(HebaeError, match=facts):
        call()
