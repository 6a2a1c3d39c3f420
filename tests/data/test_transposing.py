import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recscale_dask as rs
from recscale_dask.data import matrix as matrix_module
from recscale_dask.data.weighting import Transform
from recscale_dask.errors import OutputError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.preparation import prepare


def prepared(*arguments):
    """Prepare a matrix in this thread."""
    with SerialExecutor() as here:
        return prepare(*arguments, here)


@pytest.fixture(autouse=True)
def _everything_is_large(monkeypatch):
    monkeypatch.setattr(matrix_module, "_IN_MEMORY_BYTES", 0)


@pytest.fixture(params=[np.float32, np.float64])
def stored(tmp_path, request):
    rows = sp.random_array((400, 3000), density=0.3, rng=0, format="csr").astype(request.param)
    rows.data[::7] = 0  # stored zeros stay stored
    rows.sort_indices()
    rs.UserItemMatrix.from_scipy(rows, users=np.arange(400)).save(tmp_path / "store")
    return rs.UserItemMatrix.open(tmp_path / "store")


def content(matrix):
    return [
        (b.index, b.start, b.n_columns, *[(a.dtype.str, a.tobytes()) for a in (b.indptr, b.indices, b.values)])
        for b in (source.load() for source in matrix.sources)
    ]


def test_it_is_the_transpose_in_memory_bit_for_bit(stored):
    found, expected = stored.transposed(), stored.loaded().transposed()
    assert found.is_stored
    assert not expected.is_stored
    assert content(found) == content(expected)
    assert (found.users, found.items) == (expected.users, expected.items)
    assert (found.shape, found.nnz, found.dtype) == (expected.shape, expected.nnz, expected.dtype)
    assert content(found.transposed()) == content(stored)


def test_a_weighting_has_been_applied(stored, tmp_path):
    weighted = prepared(stored, "bm25", 0.5, 0.5).matrix
    assert content(weighted.transposed()) == content(weighted.loaded().transposed())
    other = stored.transformed(Transform("binary", prepared(stored, None, 0, 0).summary))
    assert content(other.transposed()) == content(other.loaded().transposed())
    assert len(list((tmp_path / "store" / "transposed").iterdir())) == 2


def test_it_is_made_once(stored, tmp_path):
    first = stored.transposed()
    written = {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")}
    again = rs.UserItemMatrix.open(tmp_path / "store").transposed()
    assert content(again) == content(first)
    assert {each: each.stat().st_mtime_ns for each in tmp_path.rglob("*")} == written
    assert not list(tmp_path.rglob(".*"))


def test_what_was_appended_is_in_it(stored, tmp_path):
    stored.transposed()
    more = rs.UserItemMatrix.from_scipy(np.ones((2, 2))).to_scipy().tocoo()
    grown = stored.append(
        rs.Interactions.from_arrow(
            pa.table({"user": more.coords[0] + 399, "item": more.coords[1] + 2999}),
            user="user",
            item="item",
        )
    )
    assert content(grown.transposed()) == content(grown.loaded().transposed())
    compact = grown.compact()
    assert not (tmp_path / "store" / "transposed").exists()
    assert content(compact.transposed()) == content(compact.loaded().transposed())


def test_a_fit_of_a_wide_store_is_that_of_the_matrix_in_memory(stored):
    hashes = {
        rs.factorize(each, rank=4, executor=name, weighting="binary", item_scaling=0.5).factors_sha256()
        for each in (stored, stored.loaded())
        for name in ("serial", "processes")
    }
    assert len(hashes) == 1


def test_a_store_that_cannot_be_written_to_says_why(stored, tmp_path):
    (tmp_path / "store" / "transposed").write_text("in the way")
    with pytest.raises(OutputError, match=r"its transpose, which cannot be written.*Copy the store"):
        stored.transposed()
