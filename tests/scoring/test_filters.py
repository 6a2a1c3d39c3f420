"""Who may get what: lists for all users and for each, least scores, and ids that nobody knows."""

from contextlib import ExitStack

import dask.dataframe as dd
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recscale_dask as rs
from recscale_dask.errors import DataError, OptionError, UnknownIdError, UnknownIdWarning
from recscale_dask.execution.processes import ProcessesExecutor
from recscale_dask.execution.serial import SerialExecutor
from recscale_dask.execution.threads import ThreadsExecutor
from recscale_dask.scoring import request as scoring

N_USERS, N_ITEMS = 40, 25
PAIRS = {"user": [3, 3, 3, 8, 5], "item": [2, 20, 11, 7, 7]}
OF_USER = {3: {2, 20, 11}, 8: {7}, 5: {7}}


def dense_ratings(seed=0):
    dense = np.random.default_rng(seed).random((N_USERS, N_ITEMS))
    dense[dense > 0.2] = 0
    return dense


@pytest.fixture(scope="module")
def model():
    return rs.factorize(dense_ratings(), rank=4, executor="serial")


def by_user(table):
    rows = {}
    for user, item in zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True):
        rows.setdefault(user, []).append(item)
    return rows


def expected(model, keep, **options):
    """Return the rows of no filter at all for which `keep(user, item, score)` is true, the first k of each user."""
    everything = model.recommend(k=N_ITEMS, executor="serial", **options)
    rows = {}
    for user, item, score in zip(*(everything[name].to_pylist() for name in ("user", "item", "score")), strict=True):
        if keep(user, item, score):
            rows.setdefault(user, []).append(item)
    return rows


# -- lists of each user ----------------------------------------------------------------------------------


def test_user_gets_only_what_its_own_list_allows_and_others_get_nothing(model):
    found = by_user(model.recommend(k=N_ITEMS, allow=pa.table(PAIRS), executor="serial"))
    assert found == expected(model, lambda user, item, _: item in OF_USER.get(user, ()))


def test_user_never_gets_what_its_own_list_denies_and_others_get_all(model):
    found = by_user(model.recommend(k=N_ITEMS, deny=pa.table(PAIRS), executor="serial"))
    assert found == expected(model, lambda user, item, _: item not in OF_USER.get(user, ()))


def test_list_of_each_user_goes_with_one_for_all(model):
    found = by_user(model.recommend(k=N_ITEMS, allow=range(10), deny=pa.table(PAIRS), executor="serial"))
    assert found == expected(model, lambda user, item, _: item < 10 and item not in OF_USER.get(user, ()))
    found = by_user(model.recommend(k=N_ITEMS, allow=pa.table(PAIRS), deny=[2, 7], executor="serial"))
    assert found == expected(model, lambda user, item, _: item in OF_USER.get(user, set()) - {2, 7})


def test_lists_of_users_that_are_not_asked_for_change_nothing(model):
    found = by_user(model.recommend([8, 1], k=N_ITEMS, deny=pa.table(PAIRS), executor="serial"))
    everything = expected(model, lambda user, item, _: user in (1, 8) and (user, item) != (8, 7))
    assert found == everything


FRAMES = {
    "pandas": lambda columns: pd.DataFrame(columns),
    "polars": lambda columns: pl.DataFrame(columns),
    "polars, lazy": lambda columns: pl.LazyFrame(columns),
    "arrow": lambda columns: pa.table(columns),
    "arrow, stream": lambda columns: pa.table(columns).to_reader(),
    "duckdb": lambda columns: duckdb.from_arrow(pa.table(columns)),
    "dask": lambda columns: dd.from_pandas(pd.DataFrame(columns), npartitions=1),
}


@pytest.mark.parametrize("library", FRAMES)
def test_pairs_come_in_a_frame_of_any_library(model, library):
    found = by_user(model.recommend(k=N_ITEMS, allow=FRAMES[library](PAIRS), executor="serial"))
    assert found == expected(model, lambda user, item, _: item in OF_USER.get(user, ()))


@pytest.mark.parametrize("library", FRAMES)
def test_frame_of_one_column_holds_for_all_users(model, library):
    found = by_user(model.recommend(k=N_ITEMS, allow=FRAMES[library]({"what": [4, 9]}), executor="serial"))
    assert found == expected(model, lambda user, item, _: item in (4, 9))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"item_id": PAIRS["item"], "rating": 1.0, "userId": PAIRS["user"]}),
        pd.DataFrame({"who": PAIRS["user"], "what": PAIRS["item"]}),
        pd.DataFrame({name: [str(each) for each in PAIRS[name]] for name in PAIRS}),
        rs.read_interactions(pa.table(PAIRS)),
    ],
    ids=["well-known names", "two columns", "ids as text", "interactions"],
)
def test_pairs_are_found_by_name_or_place_and_matched_by_id(model, frame):
    found = by_user(model.recommend(k=N_ITEMS, allow=frame, executor="serial"))
    assert found == expected(model, lambda user, item, _: item in OF_USER.get(user, ()))


@pytest.mark.parametrize("column", [pd.Series([4, 9]), pl.Series([4, 9]), pa.chunked_array([[4], [9]]), {4, 9}])
def test_column_of_any_library_holds_for_all_users(model, column):
    found = by_user(model.recommend(k=N_ITEMS, allow=column, executor="serial"))
    assert found == expected(model, lambda user, item, _: item in (4, 9))


def test_matrix_of_the_model_denies_its_stored_pairs(model):
    dense = dense_ratings()
    found = model.recommend(k=N_ITEMS, deny=rs.UserItemMatrix.from_scipy(dense), exclude_seen=False, executor="serial")
    assert found.equals(model.recommend(k=N_ITEMS, executor="serial"))


# -- files -----------------------------------------------------------------------------------------------


def test_pairs_come_in_a_file_of_any_kind(model, tmp_path):
    table = pa.table(PAIRS)
    lines = "".join(f"{user},{item}\n" for user, item in zip(*PAIRS.values(), strict=True))
    (tmp_path / "bare.csv").write_text(lines)
    (tmp_path / "bare.tsv").write_text(lines.replace(",", "\t"))
    (tmp_path / "header.csv").write_text("who,what\n" + lines)
    (tmp_path / "more.csv").write_text("movieId,rating,userId\n" + "".join(f"{i},5,{u}\n" for u, i in pairs_of(PAIRS)))
    pq.write_table(table, tmp_path / "pairs.parquet")
    pq.write_table(table.slice(0, 2), tmp_path / "folder.parquet")
    with pa.OSFile(str(tmp_path / "pairs.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    right = expected(model, lambda user, item, _: item in OF_USER.get(user, ()))
    for name in ("bare.csv", "bare.tsv", "header.csv", "more.csv", "pairs.parquet", "pairs.arrow"):
        assert by_user(model.recommend(k=N_ITEMS, allow=str(tmp_path / name), executor="serial")) == right, name


def pairs_of(columns):
    return zip(columns["user"], columns["item"], strict=True)


def test_what_was_recommended_before_is_denied_by_its_folder(model, tmp_path):
    model.recommend_to(tmp_path / "first", k=3, executor="serial")
    second = by_user(model.recommend(k=N_ITEMS, deny=tmp_path / "first", executor="serial"))
    everything = expected(model, lambda *_: True)
    assert second == {user: items[3:] for user, items in everything.items()}


def test_text_ids_keep_their_zeros_in_files(tmp_path):
    users, items = [f"{i:03}" for i in range(N_USERS)], [f"x{i}" for i in range(N_ITEMS)]
    model = rs.factorize(rs.UserItemMatrix.from_scipy(dense_ratings(), users=users, items=items), rank=4)
    (tmp_path / "allow.csv").write_text("007,x3\n007,x4\n012,x3\n")
    (tmp_path / "users.txt").write_text("007\n012\n\n")
    table = model.recommend(tmp_path / "users.txt", allow=tmp_path / "allow.csv", exclude_seen=False, executor="serial")
    assert sorted(pairs_of(table.to_pydict())) == [("007", "x3"), ("007", "x4"), ("012", "x3")]


@pytest.mark.parametrize("name", ["no.csv", "no.txt"])
def test_empty_file_allows_nothing_and_denies_nothing(model, tmp_path, name):
    (tmp_path / name).write_text("\n")
    assert len(model.recommend(allow=tmp_path / name, executor="serial")) == 0
    denied = model.recommend(deny=tmp_path / name, executor="serial")
    assert denied.equals(model.recommend(executor="serial"))


@pytest.mark.parametrize("nothing", [[], pa.table({"user": [], "item": []}), pd.DataFrame({"item": []}, dtype=int)])
def test_empty_list_allows_nothing_and_denies_nothing(model, nothing):
    assert len(model.recommend(allow=nothing, executor="serial")) == 0
    assert model.recommend(deny=nothing, executor="serial").equals(model.recommend(executor="serial"))


# -- least scores ----------------------------------------------------------------------------------------


def test_no_row_has_less_than_the_least_score(model):
    scores = model.recommend(k=3, executor="serial")["score"].to_numpy()
    least = float(np.sort(scores)[len(scores) // 2])
    table = model.recommend(k=3, min_score=least, executor="serial")
    assert len(table) == np.count_nonzero(scores >= least)
    assert table["score"].to_numpy().min() == np.float32(least)


@pytest.mark.parametrize("least", [float("nan"), "high", [1]])
def test_least_score_must_be_a_number(model, least):
    with pytest.raises(OptionError, match="min_score must be a number"):
        model.recommend(min_score=least, executor="serial")


# -- what is wrong ---------------------------------------------------------------------------------------


def test_unknown_ids_are_counted_and_listed_with_a_way_out(model):
    with pytest.raises(UnknownIdError, match=r"deny: 7 unknown items: 90, 91, 92, 93, 94, \.\.\.\..*unknown='skip'"):
        model.recommend(deny=range(90, 97), executor="serial")
    pairs = pd.DataFrame({"user": [3, 77], "item": [2, 2]})
    with pytest.raises(UnknownIdError, match="allow: 1 unknown user: 77"):
        model.recommend(allow=pairs, executor="serial")


def test_unknown_ids_can_be_skipped_with_a_warning(model):
    with pytest.warns(UnknownIdWarning, match="2 unknown users skipped: 91, 92"):
        table = model.recommend([3, 91, 92, 8], k=2, unknown="skip", executor="serial")
    assert table.equals(model.recommend([3, 8], k=2, executor="serial"))
    with pytest.warns(UnknownIdWarning, match="1 unknown item skipped: 91"):
        table = model.recommend(allow=[3, 91], unknown="skip", executor="serial")
    assert set(table["item"].to_pylist()) == {3}
    pairs = pd.DataFrame({"user": [3, 77, 3], "item": [2, 2, 99]})
    with pytest.warns(UnknownIdWarning):
        table = model.recommend(allow=pairs, unknown="skip", exclude_seen=False, executor="serial")
    assert list(pairs_of(table.to_pydict())) == [(3, 2)]


def test_pairs_of_another_model_are_refused_also_when_skipping(model):
    other = pd.DataFrame({"user": ["ann", "bob"], "item": ["tea", "rum"]})
    with pytest.warns(UnknownIdWarning), pytest.raises(DataError, match="deny does not belong to this model: none of"):
        model.recommend(deny=other, unknown="skip", executor="serial")


def test_matrix_of_another_model_is_refused(model):
    other = rs.UserItemMatrix.from_scipy(dense_ratings()[:, :20])
    with pytest.raises(DataError, match=r"does not belong to this model: its 20 items are not the 25 of the model"):
        model.recommend(deny=other, executor="serial")
    with pytest.raises(OptionError, match=r"exclude_seen is True or False.*deny="):
        model.recommend(exclude_seen=other, executor="serial")


@pytest.mark.parametrize("unknown", ["ignore", None])
def test_unknown_is_raise_or_skip(model, unknown):
    with pytest.raises(OptionError, match="use 'raise' or 'skip'"):
        model.recommend([1], unknown=unknown, executor="serial")


def test_mapping_is_no_list_of_ids(model):
    with pytest.raises(OptionError, match="or a frame of users and items; got a dict"):
        model.recommend(allow={3: [4]}, executor="serial")


def test_columns_that_cannot_be_told_are_asked_for(model, tmp_path):
    with pytest.raises(DataError, match=r"allow: cannot tell which of the columns a, b, c are users.*call them user"):
        model.recommend(allow=pd.DataFrame({"a": [1], "b": [2], "c": [3]}), executor="serial")
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="deny: cannot read"):
        model.recommend(deny=tmp_path / "bad.parquet", executor="serial")


# -- all at once -----------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_filters_are_those_of_brute_force(model, data):
    pair = st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1))
    items = st.lists(st.integers(0, N_ITEMS - 1), max_size=12)
    lists = st.one_of(st.none(), items, st.lists(pair, max_size=60))
    allow, deny = data.draw(lists), data.draw(lists)
    k, least, seen = (
        data.draw(st.integers(1, 8)),
        data.draw(st.sampled_from([None, 0.0, 0.1])),
        data.draw(st.booleans()),
    )

    def names(listed, user, item):
        return item in listed or (user, item) in listed

    def keep(user, item, score):
        allowed = allow is None or names(allow, user, item)
        return allowed and not (deny and names(deny, user, item)) and (least is None or score >= least)

    right = expected(model, keep, exclude_seen=seen)
    table = model.recommend(
        k=k, exclude_seen=seen, allow=given_as(allow), deny=given_as(deny), min_score=least, executor="serial"
    )
    assert by_user(table) == {user: each[:k] for user, each in right.items()}


def given_as(listed):
    if listed and isinstance(listed[0], tuple):
        users, items = zip(*listed, strict=True)
        return pa.table({"user": users, "item": items})
    return listed


def test_filtered_rows_are_the_same_on_every_executor_also_from_a_stored_model(model, tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "BATCH_USERS", 7)
    model.save(tmp_path / "model")
    stored = rs.load_model(tmp_path / "model")
    options = {
        "users": [int(each) for each in np.random.default_rng(0).permutation(N_USERS)[:30]],
        "deny": pa.table(PAIRS),
        "allow": range(3, 22),
        "min_score": -0.2,
    }
    with ExitStack() as stack:
        engines = [stack.enter_context(each) for each in (SerialExecutor(), ThreadsExecutor(3), ProcessesExecutor(2))]
        tables = [each.recommend(k=6, executor=engine, **options) for each in (model, stored) for engine in engines]
    first = tables[0].combine_chunks()
    assert len(first) > 50
    assert all(table.combine_chunks().equals(first) for table in tables)


@pytest.mark.parametrize("library", FRAMES)
def test_users_come_in_a_frame_of_one_column(model, library):
    found = model.recommend(FRAMES[library]({"who": [5, 3]}), k=2, executor="serial")
    assert found.equals(model.recommend([5, 3], k=2, executor="serial"))
    with pytest.raises(DataError, match=r"users is a frame of 2 columns \(user, item\). Give the one of user ids"):
        model.recommend(FRAMES[library](PAIRS), executor="serial")


@pytest.mark.parametrize("library", FRAMES)
def test_a_catalogue_of_items_holds_for_all_users(model, library):
    right = expected(model, lambda user, item, _: item in (4, 9))
    for films in ({"movieId": [4, 9], "title": ["a", "b"]}, {"item_id": [4, 9], "title": ["a", "b"], "year": [1, 2]}):
        assert by_user(model.recommend(k=N_ITEMS, allow=FRAMES[library](films), executor="serial")) == right


def test_rows_of_a_frame_that_were_chosen_are_a_list_of_items(model):
    films = pd.DataFrame({"item": [4, 9, 11], "title": [1, "a", None]})
    found = by_user(model.recommend(k=N_ITEMS, allow=films[films.item < 10], executor="serial"))
    assert found == expected(model, lambda user, item, _: item in (4, 9))


@pytest.mark.parametrize("rows", [{"who": [1], "movieId": [4], "n": [1]}, {"movieId": [4], "who": [1], "rating": [1]}])
def test_rows_that_may_be_pairs_are_no_catalogue(model, rows):
    with pytest.raises(DataError, match="cannot tell which of the columns"):
        model.recommend(k=2, deny=pd.DataFrame(rows), executor="serial")


def test_users_come_in_a_column_of_dask(model):
    users = dd.from_pandas(pd.DataFrame({"user": [5, 3]}), npartitions=1)["user"]
    assert model.recommend(users, k=2, executor="serial").equals(model.recommend([5, 3], k=2, executor="serial"))


def test_a_file_of_a_catalogue_holds_for_all_users(model, tmp_path):
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n4,"a, the",x|y\n9,b,z\n')
    found = by_user(model.recommend(k=N_ITEMS, allow=tmp_path / "movies.csv", executor="serial"))
    assert found == expected(model, lambda user, item, _: item in (4, 9))


def test_a_frame_without_columns_is_no_list(model):
    with pytest.raises(DataError, match="cannot tell which of the columns"):
        model.recommend(k=2, deny=pd.DataFrame(index=[0, 1]), executor="serial")
