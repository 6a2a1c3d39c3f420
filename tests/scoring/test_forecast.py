"""What recommendations to a folder are expected to take, of models whose answer is known."""

import numpy as np
import pytest

import recscale_dask as rs
from recscale_dask.execution.contract import Capabilities
from recscale_dask.scoring.forecast import _pages, forecast_recommend
from recscale_dask.scoring.request import request

PAGE = 1 << 16


@pytest.fixture(scope="module")
def model():
    return rs.factorize((np.random.default_rng(0).random((5000, 60)) < 0.2).astype(np.float32), rank=4)


def test_rows_and_disk_are_those_of_the_folder(model, tmp_path) -> None:
    plan = model.plan_recommend(tmp_path / "recs", k=7, executor="threads")
    assert not list(tmp_path.iterdir())
    rows = model.recommend_to(tmp_path / "recs", k=7, executor="threads")
    size = sum(each.stat().st_size for each in (tmp_path / "recs").glob("*.parquet"))
    assert plan.sizes == {"users": 5000, "n_items": 60, "k": 7, "rows": rows}
    assert plan.disk_bytes == pytest.approx(size, rel=0.25)
    assert plan.fits
    assert plan.seconds > 0


def test_maps_of_a_saved_model_need_not_fit(model, tmp_path) -> None:
    assert model.plan_recommend(tmp_path / "recs").mapped_bytes == 0
    model.save(tmp_path / "model")
    plan = rs.load_model(tmp_path / "model").plan_recommend(tmp_path / "recs", executor="serial")
    assert plan.mapped_bytes > 5000 * 4 * 4
    assert plan.most_bytes == plan.peak_bytes - plan.mapped_bytes


def test_candidates_are_those_that_may_be_recommended(model) -> None:
    here = Capabilities()
    few, all_ = (forecast_recommend(model, request(model, allow=a), 1, here) for a in ([1, 2], None))
    assert few.rows < all_.rows
    assert few.stages[1].driver["candidates"] < all_.stages[1].driver["candidates"]


def test_no_users_take_nothing(model) -> None:
    forecast = forecast_recommend(model, request(model, users=[]), 2, Capabilities())
    assert (forecast.rows, forecast.disk_bytes, forecast.stages[1].seconds) == (0, 0, 0)


@pytest.mark.parametrize(
    ("starts", "stops", "pages"),
    [
        ([], [], 0),
        ([0], [1], 1),
        ([0], [PAGE + 1], 2),
        ([0, 5, 9], [5, 9, 12], 1),
        ([PAGE - 1, 3 * PAGE], [PAGE + 1, 3 * PAGE + 1], 3),
        ([7], [7], 0),
    ],
)
def test_pages_that_parts_of_a_file_touch_are_counted_once(starts, stops, pages) -> None:
    assert _pages(np.array(starts, np.int64), np.array(stops, np.int64)) == pages * PAGE
