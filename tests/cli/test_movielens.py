"""The main job on real ratings: CSV in, Parquet out, read back by others."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[3] / "shared" / "data" / "ml-latest-small" / "ratings.csv"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"needs the MovieLens ratings at {DATA}")


def test_every_user_gets_unseen_items_by_original_ids(recscale, tmp_path: Path) -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    model, out = tmp_path / "model", tmp_path / "recs.parquet"
    fitted = recscale("fit", DATA, "--out", model, "--rank", 32, "--json").json()
    assert (fitted["n_users"], fitted["n_items"], fitted["n_interactions"]) == (671, 9066, 100_004)
    found = recscale("recommend", model, "--out", out, "--k", 10, "--json").json()
    assert (found["users"], found["rows"]) == (671, 6710)

    with duckdb.connect() as connection:
        count, n_users, unknown, seen = connection.execute(
            """
            select count(*), count(distinct r.user),
                   count(*) filter (r.item not in (select movieId from read_csv($data))),
                   (select count(*) from read_parquet($recs) r join read_csv($data) t
                    on r.user = t.userId and r.item = t.movieId)
            from read_parquet($recs) r
            """,
            {"recs": str(out), "data": str(DATA)},
        ).fetchone()
    assert (count, n_users, unknown, seen) == (6710, 671, 0, 0)

    recommendations = polars.read_parquet(out)
    ratings = polars.read_csv(DATA)
    assert recommendations.columns == ["user", "item", "rank", "score"]
    assert recommendations["user"].unique().sort().to_list() == ratings["userId"].unique().sort().to_list()
    falls = recommendations.group_by("user").agg(polars.col("score").diff().max().alias("rise"))
    assert falls["rise"].max() <= 0


def test_temporal_split_is_judged_against_popularity(recscale, tmp_path: Path) -> None:
    train, test = tmp_path / "train.parquet", tmp_path / "test.parquet"
    assert recscale("split", DATA, "--how", "temporal", "--out-train", train, "--out-test", test).code == 0
    options = {"svd": ("--rank", 16, "--weighting", "binary", "--user-scaling", 0.5, "--item-scaling", 0.5)}
    recall = {}
    for solver in ("svd", "popularity"):
        model = tmp_path / solver
        assert recscale("fit", train, "--out", model, "--solver", solver, *options.get(solver, ())).code == 0
        found = recscale("evaluate", model, "--test", test, "--json").json()
        assert found["n_users"] == 23  # of 147 with late ratings, those with earlier ones
        recall[solver] = found["metrics"]["recall@20"]
    assert 0.8 * recall["popularity"] < recall["svd"] < 1
