import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask import temporary
from recscale_dask.data.interactions import Interactions
from recscale_dask.errors import DataError, DoubtfulDataWarning, OptionError, StoreError
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.solvers.preparation import prepare


def prepared(*arguments):
    """Prepare a matrix in this thread."""
    with SerialExecutor() as here:
        return prepare(*arguments, here)


def interactions(users, items, values):
    return Interactions.from_arrow(
        pa.table({"user": users, "item": items, "value": pa.array(values, pa.float32())}),
        user="user",
        item="item",
        value="value",
    )


def content(matrix):
    """The values of all pairs of ids."""
    rows = matrix.to_scipy().tocoo()
    users, items = (known.ids.to_pylist() for known in (matrix.users, matrix.items))
    return {(users[u], items[i]): v for u, i, v in zip(*rows.coords, rows.data.tolist(), strict=True)}


def many(n_rows, n_users, n_items, seed, first_user=0):
    rng = np.random.default_rng(seed)
    users = rng.integers(first_user, n_users, n_rows)
    return interactions(users, rng.integers(n_items, size=n_rows) * 3, rng.integers(1, 6, n_rows))


def both(one, other):
    tables = [each.to_arrow(("user", "item", "value", "time")) for each in (one, other)]
    return Interactions.from_arrow(pa.concat_tables(tables), user="user", item="item", value="value")


@pytest.fixture
def store(tmp_path):
    """A store of four blocks."""
    rs.UserItemMatrix.from_interactions(many(400_000, 3000, 400, seed=0)).save(tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("duplicates", ["sum", "max"])
def test_an_appended_store_holds_what_one_matrix_of_all_rows_holds(tmp_path, duplicates):
    # Users and items that were there, and new ones, before, among and behind those.
    old, new = many(300_000, 3000, 400, seed=0, first_user=50), many(5_000, 4000, 500, seed=1)
    rs.UserItemMatrix.from_interactions(old, duplicates=duplicates).save(tmp_path / "store")
    grown = rs.UserItemMatrix.open(tmp_path / "store").append(new, duplicates=duplicates)
    whole = rs.UserItemMatrix.from_interactions(both(old, new), duplicates=duplicates)
    assert content(grown) == content(whole)
    assert (grown.nnz, grown.shape, grown.dtype) == (whole.nnz, whole.shape, whole.dtype)
    assert grown.users.take(np.arange(len(old.users))) == old.users.ids
    assert grown.bounds[-1] == len(grown.users)


def test_a_block_is_that_of_the_matrix_in_memory_bit_for_bit(tmp_path, store):
    old, new = many(400_000, 3000, 400, seed=0), many(50_000, 3000, 400, seed=1)
    grown = rs.UserItemMatrix.open(store).append(new)
    whole = rs.UserItemMatrix.from_interactions(both(old, new)).to_scipy()
    assert grown.users == old.users
    assert grown.n_blocks == 4
    for block in (source.load() for source in grown.sources):
        rows = whole[block.start : block.stop]
        for mine, expected in zip(
            (block.indptr, block.indices, block.values), (rows.indptr, rows.indices, rows.data), strict=True
        ):
            np.testing.assert_array_equal(mine, expected)


def test_the_last_value_of_a_pair_is_the_one_that_was_appended(tmp_path):
    rs.UserItemMatrix.from_interactions(interactions(["a", "b"], ["x", "x"], [1, 2])).save(tmp_path / "store")
    grown = rs.UserItemMatrix.open(tmp_path / "store").append(
        interactions(["b", "b", "b"], ["x", "x", "y"], [9, 4, 5]), duplicates="last"
    )
    assert content(grown) == {("a", "x"): 1, ("b", "x"): 4, ("b", "y"): 5}
    with pytest.raises(OptionError, match="sum, max, last"):
        grown.append(interactions(["b"], ["x"], [1]), duplicates="mean")


def test_values_that_cancel_out_stay_stored(tmp_path):
    rs.UserItemMatrix.from_interactions(interactions(["a"], ["x"], [1])).save(tmp_path / "store")
    with pytest.warns(DoubtfulDataWarning, match="nothing of what was appended is new: all 1 pairs .* were added up"):
        grown = rs.UserItemMatrix.open(tmp_path / "store").append(interactions(["a"], ["x"], [-1]))
    assert content(grown) == {("a", "x"): 0}
    assert grown.nnz == 1


def test_data_of_quite_other_ids_are_appended_with_a_warning(tmp_path):
    rs.UserItemMatrix.from_interactions(interactions([1, 2], [1, 2], [1, 1])).save(tmp_path / "store")
    matrix = rs.UserItemMatrix.open(tmp_path / "store")
    others = interactions([1, 700, 701], [2, 900, 901], [1, 1, 1])
    with pytest.warns(DoubtfulDataWarning, match=r"2 of 3 users and 2 of 3 items \(such as user 700 and item 900"):
        assert matrix.append(others).shape == (4, 4)
    # New users of known items are what growth looks like.
    rs.UserItemMatrix.open(tmp_path / "store").append(interactions([800, 801], [1, 2], [1, 1]))


ROWS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 6), st.integers(1, 5)), min_size=1, max_size=30)


@pytest.mark.filterwarnings("ignore::recscale_dask.errors.DoubtfulDataWarning")
@given(st.lists(ROWS, min_size=2, max_size=5), st.booleans())
@settings(max_examples=25, deadline=None)
def test_any_number_of_appends_in_any_order_of_ids_adds_up(tmp_path_factory, batches, compacting):
    folder = tmp_path_factory.mktemp("grown") / "store"
    parts = [interactions(*(list(column) for column in zip(*rows, strict=True))) for rows in batches]
    rs.UserItemMatrix.from_interactions(parts[0]).save(folder)
    matrix, whole = rs.UserItemMatrix.open(folder), parts[0]
    for part in parts[1:]:
        matrix, whole = matrix.append(part), both(whole, part)
        expected = content(rs.UserItemMatrix.from_interactions(whole))
        assert content(matrix) == expected
        if compacting:
            matrix = matrix.compact()
            assert content(matrix) == expected
    matrix.verify()
    shutil.rmtree(folder.parent)


def test_nothing_of_the_store_is_rewritten(store):
    before = {each: each.stat().st_mtime_ns for each in store.rglob("*.arrow")}
    rs.UserItemMatrix.open(store).append(interactions([5], [3], [1]))
    after = {each: each.stat().st_mtime_ns for each in store.rglob("*.arrow")}
    assert before.items() <= after.items()
    new = sorted(str(each.relative_to(store)) for each in after.keys() - before.keys())
    assert new == ["deltas/000001/000000.arrow", "deltas/000001/items.arrow", "deltas/000001/users.arrow"]


def test_who_has_the_store_open_still_reads_what_it_was(store):
    open_before = rs.UserItemMatrix.open(store)
    expected = content(open_before)
    open_before.append(many(1000, 3500, 500, seed=2)).append(many(1000, 3500, 500, seed=3))
    assert content(open_before) == expected
    assert len(open_before.users) == 3000


def test_the_manifest_tells_of_the_store_as_it_is(store):
    grown = rs.UserItemMatrix.open(store).append(many(2000, 3500, 500, seed=2))
    assert grown.fingerprint == prepared(grown, None, 0, 0).summary.digest.hex()
    statistics = json.loads((store / "manifest.json").read_text())["statistics"]
    rows = grown.to_scipy()
    assert statistics["sum"] == rows.data.sum(dtype=np.float64)
    assert statistics["longest_row"] == np.diff(rows.indptr).max()
    for number, name in enumerate(("users", "items")):
        table = pa.feather.read_table(store / "deltas" / "000001" / f"{name}.arrow")
        assert table["id"].combine_chunks() == getattr(grown, name).ids
        np.testing.assert_array_equal(table["sum"], rows.astype(np.float64).sum(axis=1 - number))


def test_a_compacted_store_is_the_matrix_in_memory_block_for_block(store):
    grown = rs.UserItemMatrix.open(store).append(many(2000, 3500, 500, seed=2))
    grown = grown.append(many(300, 3000, 400, seed=3))
    rows, users, items = grown.to_scipy(), grown.users, grown.items
    compact = grown.compact()
    memory = rs.UserItemMatrix.from_scipy(rows, users=users, items=items)
    assert (compact.users, compact.items) == (users, items)
    assert compact.fingerprint == prepared(memory, None, 0, 0).summary.digest.hex()
    assert compact.fingerprint == prepared(compact, None, 0, 0).summary.digest.hex()
    np.testing.assert_array_equal(compact.bounds, memory.bounds)
    assert sorted(each.name for each in store.iterdir()) == ["compacted", "manifest.json"]
    again = {each: each.stat().st_mtime_ns for each in store.rglob("*")}
    compact.compact()  # nothing to do
    assert {each: each.stat().st_mtime_ns for each in store.rglob("*")} == again
    more = compact.append(many(10, 10, 10, seed=5))
    expected = content(more)
    assert content(more.compact()) == expected
    with pytest.raises(StoreError, match=r"compacted or replaced.*Open it again"):
        compact.sources[0].load()


def test_factors_of_a_grown_store_are_those_of_the_same_blocks_on_every_executor(store):
    grown = rs.UserItemMatrix.open(store).append(many(2000, 3500, 500, seed=2))
    hashes = {
        rs.factorize(grown, rank=4, executor=name, weighting="bm25", item_scaling=0.5).factors_sha256()
        for name in ("serial", "threads", "processes")
    }
    assert len(hashes) == 1
    assert hashes == {
        rs.factorize(grown.loaded(), rank=4, executor="serial", weighting="bm25", item_scaling=0.5).factors_sha256()
    }


def test_ids_of_another_kind_are_refused_and_nothing_changes(store):
    before = sorted(store.rglob("*"))
    matrix = rs.UserItemMatrix.open(store)
    with pytest.raises(DataError, match="items: ids of type string, such as 'x', cannot be added to ids of type int64"):
        matrix.append(interactions([1], ["x"], [1]))
    assert sorted(store.rglob("*")) == before


def test_a_sum_that_is_too_large_names_the_pair(tmp_path):
    rs.UserItemMatrix.from_interactions(interactions(["a"], ["x"], [3e38])).save(tmp_path / "store")
    matrix = rs.UserItemMatrix.open(tmp_path / "store")
    with pytest.raises(DataError, match="user 'a' and item 'x' add up to more than float32 holds"):
        matrix.append(interactions(["a"], ["x"], [3e38]))
    assert content(rs.UserItemMatrix.open(tmp_path / "store")) == content(matrix)
    assert sorted(each.name for each in (tmp_path / "store").iterdir()) == [
        "blocks",
        "items.arrow",
        "manifest.json",
        "users.arrow",
    ]


def test_only_a_store_of_this_machine_grows():
    memory = rs.UserItemMatrix.from_scipy(sp.csr_array(np.eye(3)))
    with pytest.raises(StoreError, match="there is no store to append to: this matrix is in memory"):
        memory.append(interactions([1], [1], [1]))
    with pytest.raises(StoreError, match=r"no store to compact: this matrix is http://host/store"):
        replace(memory, store="http://host/store").compact()


def test_what_a_killed_change_left_is_removed_by_the_next(store):
    (store / "deltas" / f".recscale-77-x{temporary._suffix()}").mkdir(parents=True)
    (store / "deltas" / "000001").mkdir()
    (store / "deltas" / "000001" / "000000.arrow").write_text("half")
    (store / f".recscale-77-y{temporary._suffix()}").mkdir()
    (store / f".recscale-77-y{temporary._suffix()}" / "manifest.json").write_text("half")
    (store / "mine.txt").write_text("not ours")
    grown = rs.UserItemMatrix.open(store).append(interactions([5], [3], [1]))
    assert sorted(each.name for each in (store / "deltas").iterdir()) == ["000001"]
    grown.compact()
    assert sorted(each.name for each in store.iterdir()) == ["compacted", "manifest.json", "mine.txt"]
