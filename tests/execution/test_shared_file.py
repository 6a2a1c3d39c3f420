import fcntl
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recscale_dask.execution import exchange as exchange_module
from recscale_dask.execution.contract import Outcome
from recscale_dask.execution.deposit import Receipt, collected, deposited
from recscale_dask.execution.exchange import Exchange
from recscale_dask.execution.shared_file import FileRecipe, renew
from recscale_dask.testing import tasks
from recscale_dask.testing.leftovers import wait_until


@pytest.fixture
def exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """One that writes files again wherever it is, for some machines have no shared memory."""
    monkeypatch.setattr(exchange_module, "in_shared_memory", lambda folder: True)
    exchange = Exchange()
    yield exchange
    exchange.close()


# -- values ------------------------------------------------------------------------------------------


ARRAYS = {
    "C order": np.arange(24.0).reshape(4, 6),
    "F order": np.asfortranarray(np.arange(24.0).reshape(4, 6)),
    "strided": np.arange(24.0).reshape(4, 6)[::2, ::3],
    "reversed": np.arange(5)[::-1],
    "empty": np.zeros((0, 7), np.float32),
    "zero-dimensional": np.array(3.5),
    "strings": np.array(["a", "bc"]),
    "records": np.zeros(3, [("a", "i4"), ("b", "f8")]),
    "bool": np.array([True, False, True]),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("writable", [True, False], ids=["writable", "read-only"])
def test_array_comes_back_from_a_file_as_it_was(exchange: Exchange, array: Any, writable: bool) -> None:
    view = array.view()
    view.flags.writeable = writable
    found = exchange.put(view).load()
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_arrays_of_a_file_are_mapped_aligned_and_read_only(exchange: Exchange) -> None:
    value = {"a": np.ones(3, np.int8), "b": np.arange(1000.0), "c": np.asfortranarray(np.eye(9))}
    found = exchange.put(value).load()
    for array in found.values():
        assert tasks._is_mapped(array)
        assert array.ctypes.data % 64 == 0
        assert not array.flags.writeable
    assert found["c"].flags.f_contiguous


def test_mapped_array_outlives_its_file(exchange: Exchange) -> None:
    found = exchange.put(np.arange(100_000)).load()
    exchange.close()
    assert found.sum() == 4_999_950_000


def test_functions_of_a_script_travel_through_files(exchange: Exchange) -> None:
    assert exchange.put(lambda block: block + 1).load()(2) == 3


def test_constant_travels_as_a_recipe(exchange: Exchange) -> None:
    assert pickle.loads(pickle.dumps(exchange.put([1, 2]))).load() == [1, 2]


# -- files that are written again ------------------------------------------------------------------------


def path_of(constant: Any) -> Path:
    return pickle.loads(pickle.dumps(constant)).path


def test_file_that_was_given_back_is_written_again_and_grows(exchange: Exchange) -> None:
    first = exchange.put(np.zeros(1000))
    assert first.load().sum() == 0
    first.release()
    first.release()
    second = exchange.put(np.ones(100_000))
    assert path_of(second) == path_of(first)
    assert second.load().sum() == 100_000
    assert path_of(exchange.put(0)) != path_of(second)


def test_old_version_is_gone(exchange: Exchange) -> None:
    first = exchange.put(1)
    old = pickle.loads(pickle.dumps(first))
    first.release()
    exchange.put(2)
    with pytest.raises(FileNotFoundError):
        old.load()
    assert old.write(3) is None


def test_file_in_use_is_not_written_again(exchange: Exchange) -> None:
    first = exchange.put(np.arange(10))
    used = first.load()
    first.release()
    second = exchange.put(np.zeros(10))
    assert path_of(second) != path_of(first)
    assert used.tolist() == list(range(10))


def test_file_that_another_process_uses_is_not_written_again(exchange: Exchange) -> None:
    first = exchange.put(np.arange(10))
    with open(path_of(first)) as other:  # a lock belongs to an opened file, not to a process
        fcntl.flock(other, fcntl.LOCK_SH)
        first.release()
        assert renew(path_of(first)) is None
        assert path_of(exchange.put(0)) != path_of(first)


def test_large_file_is_deleted_when_it_is_given_back(exchange: Exchange) -> None:
    large = exchange.put(np.zeros(2_000_000))
    large.release()
    assert not path_of(large).exists()


def test_few_files_are_kept(exchange: Exchange) -> None:
    for constant in [exchange.put(i) for i in range(40)]:
        constant.release()
    assert len(list(exchange.folder.iterdir())) < 10


def test_on_a_disk_no_file_is_written_again(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "in_shared_memory", lambda folder: False)
    on_disk = Exchange()
    first = on_disk.put(0)
    first.release()
    assert not path_of(first).exists()
    on_disk.close()


def test_mapping_of_a_deleted_file_goes_away(exchange: Exchange) -> None:
    path_of(exchange.put(np.zeros(10))).unlink()
    exchange.close()
    assert wait_until(lambda: not [each for each in threading.enumerate() if "shared-files" in each.name], 10)


# -- results ------------------------------------------------------------------------------------------------


LARGE = np.arange(200_000.0)


def test_large_result_comes_back_and_its_file_is_free_once_it_is_used_no_more(exchange: Exchange) -> None:
    blank = exchange.blank()
    assert blank is not None
    left = deposited(Outcome(3, LARGE), blank)
    assert isinstance(left.value, Receipt)
    outcome = collected(left, blank, exchange)
    np.testing.assert_array_equal(outcome.value, LARGE)
    del outcome
    again = exchange.blank()
    assert again is not None
    assert again.path == blank.path


def test_small_result_leaves_its_file_free_at_once(exchange: Exchange) -> None:
    blank = exchange.blank()
    outcome = collected(deposited(Outcome(3, 1.5), blank), blank, exchange)
    assert outcome.value == 1.5
    again = exchange.blank()
    assert again is not None
    assert blank is not None
    assert again.path == blank.path


def test_second_to_write_a_result_sends_it_the_other_way(exchange: Exchange) -> None:
    blank = exchange.blank()
    assert isinstance(deposited(Outcome(0, LARGE), blank).value, Receipt)
    assert deposited(Outcome(0, LARGE), blank).value is LARGE


def test_result_whose_file_is_gone_is_lost(exchange: Exchange) -> None:
    blank = exchange.blank()
    assert blank is not None
    left = deposited(Outcome(0, LARGE), blank)
    renew(blank.path)
    assert collected(left, blank, exchange).lost


def test_without_room_for_it_a_result_goes_the_other_way(exchange: Exchange, tmp_path: Path) -> None:
    assert deposited(Outcome(0, LARGE), FileRecipe(tmp_path / "missing", 0)).value is LARGE
