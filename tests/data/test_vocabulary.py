import pickle
import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recscale_dask.data import vocabulary
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import DataError, OptionError, UnknownIdError, UnknownIdWarning

ID_LISTS = st.one_of(
    st.lists(st.integers(-(2**63), 2**63 - 1)),
    st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
    st.lists(st.uuids()),
)


@given(ID_LISTS)
def test_every_id_comes_back_from_its_code(ids):
    known, codes = Vocabulary.from_ids(ids)
    assert known.take(codes).to_pylist() == ids
    np.testing.assert_array_equal(known.codes(ids), codes)
    assert codes.dtype == np.int32


@given(ID_LISTS, st.randoms())
def test_codes_do_not_depend_on_the_order_of_the_input(ids, random):
    shuffled = random.sample(ids, len(ids))
    known, other = Vocabulary.from_ids(ids)[0], Vocabulary.from_ids(shuffled)[0]
    assert known == other
    assert known.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("kind", [pa.int8(), pa.int32(), pa.uint64(), pa.string(), pa.binary(2)])
def test_the_type_of_ids_is_kept(kind):
    values = [b"zz", b"aa", b"zz"] if kind == pa.binary(2) else pa.array([3, 1, 3]).cast(kind).to_pylist()
    known, codes = Vocabulary.from_ids(pa.array(values, kind))
    assert known.ids.type == kind
    assert codes.tolist() == [1, 0, 1]


def test_uuids_are_kept_as_uuids():
    ids = [uuid.UUID(int=2), uuid.UUID(int=1)]
    known, codes = Vocabulary.from_ids(ids)
    assert known.ids.type == pa.uuid()
    assert known.ids.to_pylist() == ids[::-1]
    assert codes.tolist() == [1, 0]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["b", "a"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays([0, 1], pa.array(["b", "a"], pa.string_view())),
        pa.array(["b", "a"], pa.large_string()),
        pa.array(["b", "a"], pa.string_view()),
        pa.chunked_array([["b"], [], ["a"]], pa.string()),
        np.array(["b", "a"]),
        np.array(["b", "a"], dtype=object),
        ("b", "a"),
    ],
)
def test_text_in_any_form_makes_the_same_vocabulary(column):
    known, codes = Vocabulary.from_ids(column)
    assert known == Vocabulary(pa.array(["a", "b"]))
    assert codes.tolist() == [1, 0]


def test_text_finds_integers_only_when_exact():
    known, _ = Vocabulary.from_ids([7, 12])
    assert known.codes(["12", "012", " 7", "7"], missing="ignore").tolist() == [1, -1, -1, 0]


def test_integers_find_text_and_other_widths():
    assert Vocabulary.from_ids(["12", "7"])[0].codes([7, 12]).tolist() == [1, 0]
    narrow, _ = Vocabulary.from_ids(np.array([1, 2], dtype=np.int32))
    assert narrow.codes(np.array([2, 2**40]), missing="ignore").tolist() == [1, -1]
    assert narrow.codes(np.array([2, 2**63], dtype=np.uint64), missing="ignore").tolist() == [1, -1]


def test_the_text_of_a_uuid_finds_it():
    ids = sorted(uuid.uuid4() for _ in range(20))
    known, _ = Vocabulary.from_ids(ids)
    assert known.codes([str(each) for each in ids]).tolist() == list(range(20))
    assert known.text().to_pylist() == [str(each) for each in ids]


def test_unknown_ids_are_named_up_to_five_with_their_kind():
    known, _ = Vocabulary.from_ids([1, 2])
    with pytest.raises(UnknownIdError, match=r"7 unknown users: 3, 4, 5, 6, 7, \.\.\.\. Known are 2, from 1 to 2"):
        known.codes([1, *range(3, 10), 3], kind="user")
    with pytest.raises(UnknownIdError, match="1 unknown item: 'x'"):
        known.codes(["x", "x", "1"], kind="item")
    with pytest.raises(UnknownIdError, match="none at all"):
        Vocabulary.from_ids([])[0].codes([1])


def test_unknown_ids_can_be_ignored():
    assert Vocabulary.from_ids([1, 2])[0].codes([9, 2], missing="ignore").tolist() == [-1, 1]
    with pytest.raises(OptionError, match="'raise', 'warn' or 'ignore'"):
        Vocabulary.range(2).codes([1], missing="drop")


def test_unknown_ids_can_be_warned_of():
    with pytest.warns(UnknownIdWarning, match="2 unknown users skipped: 9, 8"):
        codes = Vocabulary.from_ids([1, 2])[0].codes([9, 2, 8, 9], missing="warn", kind="user")
    assert codes.tolist() == [-1, 1, -1, -1]


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint8])
def test_integers_without_a_gap_have_the_codes_of_any_others(kind):
    ids = np.arange(3, 90, dtype=kind)
    asked = [3, 89, 2, 90, 40, -(2**63), 2**63 - 1]
    codes = Vocabulary(pa.array(ids)).codes(asked, missing="ignore")
    assert codes.tolist() == [0, 86, -1, -1, 37, -1, -1]
    assert Vocabulary(pa.array(ids)).codes(range(5, 10, 2)).tolist() == [2, 4, 6]
    assert Vocabulary(pa.array(ids)).codes(["40", "3"]).tolist() == [37, 0]


def test_range_is_the_integers_from_zero():
    assert Vocabulary.range(3) == Vocabulary.from_ids([2, 0, 1])[0]
    assert len(Vocabulary.range(0)) == 0


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1.5], "not double"),
        ([True], "not bool"),
        ([1, "a"], "all be of one type"),
        ([uuid.UUID(int=1), 5, uuid.UUID(int=1)], "all be of one type"),
        ([4, None], "id number 2 of 2 is null"),
        ([b"a"], "not binary"),
    ],
)
def test_what_cannot_be_an_id_is_refused(ids, message):
    with pytest.raises(DataError, match=message):
        Vocabulary.from_ids(ids)


def test_bytes_and_text_cannot_be_compared():
    with pytest.raises(DataError, match="no text form"):
        Vocabulary.from_ids(pa.array([b"ab"], pa.binary(2)))[0].codes(["ab"])


def test_more_ids_than_codes_are_refused(monkeypatch):
    monkeypatch.setattr(vocabulary, "MAX_IDS", 2)
    with pytest.raises(DataError, match="3 distinct ids"):
        Vocabulary.from_ids([1, 2, 3])


def test_the_fingerprint_tells_type_and_content_but_not_memory():
    ids = pa.array(["a", "ab", "b"])
    assert Vocabulary(ids[1:]).fingerprint() == Vocabulary(pa.array(["ab", "b"])).fingerprint()
    prints = [
        Vocabulary(each).fingerprint()
        for each in (ids, pa.array(["aa", "b", "b"]), pa.array([1, 2]), pa.array([1, 2], pa.int32()), pa.array([1]))
    ]
    assert len(set(prints)) == len(prints)


def test_a_vocabulary_travels_and_is_not_equal_to_its_ids():
    known, _ = Vocabulary.from_ids([uuid.UUID(int=1)])
    assert pickle.loads(pickle.dumps(known)) == known
    assert known != known.ids.to_pylist()
    assert Vocabulary(pa.array([1])) != Vocabulary(pa.array([1], pa.int32()))


@given(ID_LISTS, st.data())
def test_ids_that_came_later_are_behind_the_others(ids, data):
    later = data.draw(st.lists(st.sampled_from(ids)) if ids else st.just([]))
    kinds = (st.integers(-(2**63), 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"])), st.uuids())
    kind = {int: kinds[0], str: kinds[1], uuid.UUID: kinds[2]}[type(ids[0])] if ids else kinds[0]
    later += data.draw(st.lists(kind))
    known, before = Vocabulary.from_ids(ids)
    grown, codes = known.extended(later)
    assert grown.take(codes).to_pylist() == later
    np.testing.assert_array_equal(grown.codes(ids), before)
    new = grown.ids.to_pylist()[len(known) :]
    assert new == Vocabulary.from_ids(list(set(later) - set(ids)))[0].ids.to_pylist()
    np.testing.assert_array_equal(grown.codes(grown.ids), np.arange(len(grown)))


def test_nothing_new_is_the_same_vocabulary():
    known, _ = Vocabulary.from_ids(["a", "b"])
    same, codes = known.extended(["b", "b"])
    assert same is known
    assert codes.tolist() == [1, 1]


def test_integers_that_only_end_as_if_without_a_gap_are_looked_up():
    known, _ = Vocabulary.from_ids([0, 1, 7])
    for more, last in ([2, 3], 3), ([4], 4):
        grown, _ = known.extended(more)
        assert grown.codes(grown.ids).tolist() == list(range(len(grown)))
        assert grown.codes([last, 99], missing="ignore").tolist() == [len(grown) - 1, -1]
    with pytest.raises(UnknownIdError, match="Known are 5, from 0 to 7"):
        known.extended([2, 3])[0].codes([9])


def test_integers_behind_integers_without_a_gap_have_none_either():
    grown, codes = Vocabulary.range(3).extended([4, 3, 1])
    assert codes.tolist() == [4, 3, 1]
    assert grown == Vocabulary.range(5)


@pytest.mark.parametrize(
    ("known", "more", "expected"),
    [
        ([7, 8], ["8", "9"], [7, 8, 9]),
        (["7", "8"], [9, 8], ["7", "8", "9"]),
        ([uuid.UUID(int=1)], [str(uuid.UUID(int=2))], [uuid.UUID(int=1), uuid.UUID(int=2)]),
        (np.array([7], np.int32), [2**40], [7, 2**40]),
        (np.array([7], np.uint8), np.array([8]), [7, 8]),
    ],
)
def test_ids_of_another_type_become_ids_of_the_same(known, more, expected):
    grown, _ = Vocabulary.from_ids(known)[0].extended(more)
    assert grown.ids.to_pylist() == expected
    assert grown.ids.type == (Vocabulary.from_ids(known)[0].ids.type if 2**40 not in expected else pa.int64())


@pytest.mark.parametrize(
    ("known", "more"), [([7], ["x"]), ([7], ["008"]), ([uuid.UUID(int=1)], ["x"]), ([uuid.UUID(int=1)], [5])]
)
def test_what_is_no_id_of_the_type_is_refused(known, more):
    with pytest.raises(DataError, match="cannot be added to ids of type"):
        Vocabulary.from_ids(known)[0].extended(more)


def test_more_later_ids_than_codes_are_refused(monkeypatch):
    monkeypatch.setattr(vocabulary, "MAX_IDS", 2)
    with pytest.raises(DataError, match="3 ids are more"):
        Vocabulary.from_ids([1, 2])[0].extended([3])
