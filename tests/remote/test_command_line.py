"""Every command takes URLs where it takes paths."""

import json

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from recscale_dask.cli.main import app
from recscale_dask.testing.matrices import planted_tastes


def recscale(*arguments):
    ran = CliRunner().invoke(app, [str(each) for each in arguments])
    assert ran.exit_code == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def place(bucket):
    """URL with ratings, train and test files, and a model."""
    place = f"{bucket}/commands"
    with fsspec.open(f"{place}/ratings.parquet", "wb") as file:
        pq.write_table(pa.table(planted_tastes(80, 40, 2, per_user=12).columns()), file)
    train, test = f"{place}/train.csv", f"{place}/test.csv"
    recscale("split", f"{place}/ratings.parquet", "--out-train", train, "--out-test", test)
    recscale("fit", train, "--out", f"{place}/model", "--rank", 4)
    return place


def content(url):
    with fsspec.open(url) as file:
        return file.read().decode()


def test_a_model_is_judged_and_reported(place):
    model, test = f"{place}/model", f"{place}/test.csv"
    answer = json.loads(recscale("evaluate", model, "--test", test, "--json"))
    recscale("report", model, "--out", f"{place}/report.html", "--test", test)
    assert "Quality" in content(f"{place}/report.html")
    assert 0 < answer["metrics"]["recall@20"] <= 1
    assert CliRunner().invoke(app, ["report", model, "--out", f"{place}/report.html"]).exit_code == 1


def test_options_are_tuned_and_ranks_advised(place):
    train, judged = f"{place}/train.csv", ("--test", f"{place}/test.csv", "--metrics", "recall@5")
    recscale("tune", train, *judged, "--trials", 2, "--out", f"{place}/tuned", "--report", f"{place}/tuned.html")
    assert "Tuning by recall@5" in content(f"{place}/tuned.html")
    assert f"{place}/tuned" in recscale("fit", train, "--out", f"{place}/tuned", "--rank", 2, "--overwrite")
    recscale("advise", train, *judged, "--rank", 4, "--ranks", "2,4", "--report", f"{place}/ranks.html")
    assert "Ranks by recall@5" in content(f"{place}/ranks.html")


def test_new_users_are_recommended_to(place):
    answer = json.loads(
        recscale("fold-in", f"{place}/model", f"{place}/test.csv", "--out", f"{place}/new.parquet", "--json")
    )
    with fsspec.open(f"{place}/new.parquet") as file:
        assert pq.read_table(file).num_rows == answer["rows"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("fit", "{}/train.csv", "--out", "{}/m", "--rank", "2", "--checkpoint", "{}/state"),
            "checkpoints cannot be at s3://",
        ),
        (("tune", "{}/train.csv", "--study", "{}/study"), "a study cannot be at s3://"),
        (("append", "{}/store", "{}/train.csv"), "a store that changes cannot be at s3://"),
        (("demo", "--out", "{}/demo"), "the folder of a demo cannot be at s3://"),
        (("compact", "{}/store"), "a store that changes cannot be at s3://"),
    ],
)
def test_what_is_changed_in_place_is_on_a_disk(place, arguments, said):
    system, path = fsspec.url_to_fs(f"{place}/store")
    if not system.exists(path):
        recscale("ingest", f"{place}/train.csv", "--out", f"{place}/store")
    ran = CliRunner().invoke(app, [each.format(place) for each in arguments])
    assert ran.exit_code == 1
    assert said in ran.stderr
