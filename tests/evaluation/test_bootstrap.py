import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.errors import OptionError
from recscale_dask.evaluation import bootstrap
from recscale_dask.evaluation.bootstrap import UserSums, interval, p_value, resample


def mean_of(values):
    return UserSums(np.asarray(values, float), np.ones(len(values)))


def test_value_is_a_ratio_of_sums():
    assert mean_of([1, 2, 6]).value == 3
    assert UserSums(np.array([4.0, 5, 0]), np.array([1.0, 0, 0]), np.sqrt).value == 3
    assert np.isnan(UserSums(np.zeros(2), np.zeros(2)).value)


def test_interval_of_a_known_distribution_holds_its_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        (low, high) = interval(resample([mean_of(rng.exponential(2.0, 150))], replicates=400, seed=trial)[:, 0], 0.9)
        held += low <= 2 <= high
    assert 0.86 < held / 400 < 0.94  # its own standard error is 0.015


def test_samples_scatter_by_the_standard_error():
    values = np.random.default_rng(1).normal(5, 3, 4000)
    samples = resample([mean_of(values)], replicates=2000, seed=0)[:, 0]
    assert samples.mean() == pytest.approx(values.mean(), abs=0.01)
    assert samples.std() == pytest.approx(values.std() / np.sqrt(4000), rel=0.06)


def test_many_users_are_drawn_in_groups_that_scatter_alike(monkeypatch):
    values = np.random.default_rng(1).exponential(3, 4000)
    values.sort()  # neighbours are alike, as users that came at one time may be
    alone = resample([mean_of(values)], replicates=2000, seed=0)[:, 0]
    monkeypatch.setattr(bootstrap, "_GROUPS", 500)
    grouped = resample([mean_of(values)], replicates=2000, seed=0)[:, 0]
    assert grouped.mean() == pytest.approx(alone.mean(), abs=0.01)
    assert grouped.std() == pytest.approx(alone.std(), rel=0.1)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 9))
def test_samples_are_within_the_values_and_the_same_for_one_seed(values, replicates, seed):
    samples = resample([mean_of(values)], replicates=replicates, seed=seed)
    assert samples.shape == (replicates, 1)
    assert (samples >= min(values) - 1e-9).all()
    assert (samples <= max(values) + 1e-9).all()
    assert samples.tolist() == resample([mean_of(values)], replicates=replicates, seed=seed).tolist()


def test_all_metrics_see_the_same_samples_so_that_differences_are_paired():
    values = np.random.default_rng(2).normal(size=300)
    samples = resample([mean_of(values), mean_of(values + 0.25)], replicates=50, seed=3)
    np.testing.assert_allclose(samples[:, 1] - samples[:, 0], 0.25)


def test_rating_metrics_are_finished_in_each_sample():
    losses, rows = np.array([4.0, 9, 16]), np.array([1.0, 1, 1])
    samples = resample([UserSums(losses, rows, np.sqrt)], replicates=200, seed=0)[:, 0]
    sums = {4 * a + 9 * b + 16 * (3 - a - b) for a in range(4) for b in range(4 - a)}
    assert set(np.round(samples**2 * 3).astype(int)) <= sums
    assert 2 <= samples.min() < samples.max() <= 4


def test_samples_without_a_user_that_counts_are_left_out():
    samples = resample([UserSums(np.array([1.0, 0]), np.array([1.0, 0]))], replicates=100, seed=0)[:, 0]
    assert np.isnan(samples).any()
    assert interval(samples, 0.95) == (1, 1)
    assert all(np.isnan(interval(np.full(3, np.nan), 0.95)))


def test_p_value_is_small_for_a_sure_difference_and_one_for_none():
    assert p_value(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert p_value(np.full(999, -0.1)) == pytest.approx(2 / 1000)
    assert p_value(np.zeros(999)) == 1
    assert p_value(np.linspace(-1, 1, 999)) == 1
    assert p_value(np.linspace(-0.1, 0.9, 1000)) == pytest.approx(0.2, abs=0.005)


def test_p_values_of_models_that_do_not_differ_are_below_a_tenth_in_a_tenth_of_cases():
    rng = np.random.default_rng(5)
    found = []
    for trial in range(300):
        one, other = rng.normal(size=(2, 120))
        samples = resample([mean_of(one), mean_of(other)], replicates=300, seed=trial)
        found.append(p_value(samples[:, 0] - samples[:, 1]))
    assert 0.05 < np.mean(np.array(found) < 0.1) < 0.15  # its own standard error is 0.017


@pytest.mark.parametrize("level", [0, 1, -0.5, 95])
def test_level_is_between_zero_and_one(level):
    with pytest.raises(OptionError, match=r"such as 0\.95"):
        interval(np.zeros(3), level)


def test_there_is_at_least_one_sample():
    with pytest.raises(OptionError, match="replicates must be a whole number of at least 1"):
        resample([mean_of([1.0])], replicates=0, seed=0)
