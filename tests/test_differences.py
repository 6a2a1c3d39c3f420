"""What differs is told once, and no more than is needed."""

from recscale_dask.differences import differences


def test_what_is_the_same_is_not_told():
    assert differences({"k": 10, "users": {"count": 3}}, {"k": 10, "users": {"count": 3}}) == ""


def test_numbers_are_told_and_of_hashes_only_that_they_differ():
    was = {"request": {"k": 10, "users": {"count": 3, "sha256": "aa"}}, "model": {"fingerprint": "b"}}
    now = {"request": {"k": 20, "users": {"count": 3, "sha256": "cc"}}, "model": {"fingerprint": "d"}}
    assert differences(was, now) == (
        "model: fingerprint is another; request: k was 10, and is 20 now; request: users: sha256 is another"
    )


def test_many_differences_and_long_values_are_cut():
    was = {str(number): "x" * 1000 for number in range(9)}
    told = differences(was, {})
    assert told.endswith("; and 5 more")
    assert len(told) < 600
