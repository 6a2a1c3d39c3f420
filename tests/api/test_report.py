"""Reports: one page about a model, with spectrum, quality and coverage."""

import numpy as np
import pyarrow as pa
import pytest

import recscale_dask as rs
from recscale_dask.errors import OptionError, OutputError, UnknownNameError
from recscale_dask.testing.matrices import planted_tastes


@pytest.fixture(scope="module")
def sets():
    tastes = planted_tastes(n_users=200, n_items=60, n_groups=4, seed=0)
    return rs.split(rs.read_interactions(pa.table(tastes.columns())), fraction=0.2, seed=0)


def page_of(model, path, *arguments, **options):
    rs.report(model, path, *arguments, executor="serial", **options)
    return path.read_text()


def test_page_has_spectrum_quality_and_coverage(sets, tmp_path):
    train, test = sets
    model = rs.factorize(train, rank=8, executor="serial")
    page = page_of(model, tmp_path / "report.html", test)
    recall = rs.evaluate(model, test, executor="serial")["recall@20"]
    assert "Model: svd, rank 8" in page
    assert page.count("<svg") == 3
    assert f"{recall:.4g}" in page
    assert "Where recommendations go" in page
    assert not any(word in page for word in ("http", "src=", "@import", "url("))


def test_same_model_gives_the_same_page(sets, tmp_path):
    model = rs.factorize(sets[0], rank=4, executor="serial")
    assert page_of(model, tmp_path / "a.html") == page_of(model, tmp_path / "b.html")


def test_bars_are_the_residuals_of_the_certificate(tmp_path):
    model = rs.factorize(np.diag([8.0, 4.0, 2.0, 1.0]), rank=3, executor="serial")
    assert "a true singular value lies within it" in page_of(model, tmp_path / "report.html", k=1)


def test_solver_without_a_spectrum_says_so(sets, tmp_path):
    page = page_of(rs.factorize(sets[0], solver="popularity", executor="serial"), tmp_path / "report.html")
    assert "This solver gives no certified spectrum." in page
    assert "No test set was given" in page


def test_coverage_is_that_of_everyones_lists(sets, tmp_path):
    model = rs.factorize(sets[0], rank=4, executor="serial")
    named = len(model.recommend(k=1, executor="serial")["item"].unique())
    page = page_of(model, tmp_path / "report.html", k=1)
    assert (
        f"of {len(model.users)} users name {named} of {len(model.items)} items ({named / len(model.items):.1%})" in page
    )


def test_a_file_that_is_there_stays(sets, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    model = rs.factorize(sets[0], rank=2, executor="serial")
    with pytest.raises(OutputError, match="exists already"):
        rs.report(model, tmp_path / "report.html")
    assert "Model: svd" in page_of(model, tmp_path / "report.html", overwrite=True)


@pytest.mark.parametrize(
    ("path", "arguments", "options", "error", "message"),
    [
        ("r.pdf", (), {}, OutputError, "r.pdf would hold HTML: end its name in .html or .htm."),
        ("r.html", (), {"metrics": ["recall@5"]}, OptionError, "metrics.* are of a test set, and there is none"),
        ("r.html", ("nothing.csv",), {"metrics": ["recal@5"]}, UnknownNameError, "recal"),
    ],
)
def test_what_cannot_be_written_or_judged_is_told_before_any_work(
    sets, tmp_path, path, arguments, options, error, message
):
    model = rs.factorize(sets[0], rank=2, executor="serial")
    with pytest.raises(error, match=message):
        rs.report(model, tmp_path / path, *arguments, **options)
