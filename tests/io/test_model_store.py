import dataclasses
import hashlib
import json
import pickle
import signal
import subprocess
import sys
import uuid

import numpy as np
import pytest

import recscale_dask as rs
from recscale_dask.errors import ModelFormatError, OptionError, OutputError
from recscale_dask.io import model_store
from recscale_dask.model import SeenItems


def fit(users=None, items=None, **options):
    dense = np.random.default_rng(0).random((12, 8)) * (np.random.default_rng(1).random((12, 8)) < 0.6)
    return rs.factorize(
        rs.UserItemMatrix.from_scipy(dense, users=users, items=items), executor="serial", **{"rank": 3, **options}
    )


@pytest.fixture
def saved(tmp_path):
    fit().save(tmp_path / "model")
    return tmp_path / "model"


def content(folder):
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def rewrite(folder, **changes):
    """Change the manifest and its own hash with it."""
    manifest = json.loads((folder / "manifest.json").read_text()) | changes
    del manifest["sha256"]
    whole = json.dumps(manifest, sort_keys=True).encode()
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": hashlib.sha256(whole).hexdigest()}))


@pytest.mark.parametrize(
    ("users", "items"),
    [
        (None, None),
        ([f"user {i:02}é" for i in range(12)], np.arange(8, dtype=np.int32) * 5 - 7),
        ([uuid.UUID(int=i) for i in range(12)], [f"{i}" for i in range(8)]),
    ],
)
def test_model_comes_back_as_it_was(tmp_path, users, items):
    model = fit(users, items, weighting="log", seed=3)
    model.save(tmp_path / "model")
    again = rs.load_model(tmp_path / "model")
    assert isinstance(again, rs.FactorModel)
    assert again.factors_sha256() == model.factors_sha256()
    assert again.users == model.users
    assert again.items == model.items
    assert again.provenance == model.provenance
    assert again.certificate.tol == model.certificate.tol
    assert again.certificate.passes == model.certificate.passes
    for name in ("singular_values", "user_factors", "item_factors"):
        np.testing.assert_array_equal(getattr(again, name), getattr(model, name))
    np.testing.assert_array_equal(again.certificate.residuals, model.certificate.residuals)
    assert again.recommend(k=3, executor="serial").equals(model.recommend(k=3, executor="serial"))
    assert repr(again) == repr(model) == "FactorModel(svd, rank 3, 12 users, 8 items)"


def test_loaded_model_scores_and_explains_as_the_fitted_one(tmp_path):
    model = fit()
    model.save(tmp_path / "model")
    again = rs.load_model(tmp_path / "model")
    assert again.similar_items(2, 3).equals(model.similar_items(2, 3))
    assert again.score([1, 2], [3, 4], executor="serial").tolist() == model.score([1, 2], [3, 4]).tolist()
    assert again.reconstruct().compute(scheduler="sync").tobytes() == model.reconstruct().compute().tobytes()
    assert again.recommend(k=2, executor="processes").equals(model.recommend(k=2))


def test_numbers_are_mapped_and_read_only(saved):
    model = rs.load_model(saved)
    for array in (model.user_factors, model.item_factors, model.seen.indices):
        assert isinstance(array, np.memmap)
        assert not array.flags.writeable


def test_saving_a_loaded_model_gives_the_same_bytes(saved, tmp_path):
    rs.load_model(saved).save(tmp_path / "again")
    assert content(tmp_path / "again") == content(saved)


def test_there_is_no_pickle(saved):
    assert {each.suffix for each in saved.iterdir()} == {".npy", ".arrow", ".json"}
    for each in saved.glob("*.npy"):
        np.load(each, allow_pickle=False)


def test_model_that_was_saved_before_there_was_training_data_in_it_still_loads(tmp_path):
    fit(weighting="bm25").save(tmp_path / "model")
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    files = {name: entry for name, entry in manifest["files"].items() if not name.startswith("training_")}
    assert len(files) < len(manifest["files"])
    for name in manifest["files"].keys() - files.keys():
        (tmp_path / "model" / name).unlink()
    rewrite(tmp_path / "model", files=files)
    old = rs.load_model(tmp_path / "model")
    assert old.training == {}
    assert len(old.recommend(k=2, executor="serial"))
    with pytest.raises(ModelFormatError, match="Fit it again"):
        old.fold_in([1, 2])


def test_training_data_of_a_model_come_back_as_they_were(tmp_path):
    model = fit(weighting="bm25", item_scaling=0.5, center="users")
    model.save(tmp_path / "model")
    again = rs.load_model(tmp_path / "model")
    assert again.training.keys() == model.training.keys()
    for name, array in model.training.items():
        assert again.training[name].dtype == array.dtype
        np.testing.assert_array_equal(again.training[name], array)


def test_options_given_as_numpy_numbers_can_be_saved(tmp_path):
    model = fit(rank=np.int64(2), tol=np.float32(0.01), seed=np.int32(1), user_scaling=np.float32(0.5))
    model.save(tmp_path / "model")
    assert rs.load_model(tmp_path / "model").provenance["options"]["rank"] == 2


def test_model_without_certificate_or_interactions(tmp_path):
    model = rs.factorize(np.zeros((3, 2)), solver="popularity", executor="serial")
    model.save(tmp_path / "model")
    again = rs.load_model(tmp_path / "model")
    assert again.certificate is None
    assert again.n_interactions == 0
    assert len(again.recommend(executor="serial")) == 6


@pytest.mark.parametrize("name", ["user_factors.npy", "users.arrow", "residuals.npy", "manifest.json"])
def test_truncated_file_is_refused(saved, name):
    data = (saved / name).read_bytes()
    (saved / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFormatError, match=name.replace(".", r"\.")):
        rs.load_model(saved)


@pytest.mark.parametrize("name", ["item_factors.npy", "items.arrow", "seen_indices.npy"])
def test_altered_byte_is_refused(saved, name):
    data = bytearray((saved / name).read_bytes())
    data[-9] ^= 1
    (saved / name).write_bytes(data)
    with pytest.raises(ModelFormatError, match="was altered after the model was saved"):
        rs.load_model(saved)


def test_missing_file_is_named(saved):
    (saved / "items.arrow").unlink()
    with pytest.raises(ModelFormatError, match=r"items\.arrow is missing"):
        rs.load_model(saved)


@pytest.mark.parametrize(
    "changes", [{"provenance": {}}, {"files": {}}, {"files": {"users.arrow": 3}}, {"certificate": {"tol": 9}}]
)
def test_altered_manifest_is_refused(saved, changes):
    manifest = json.loads((saved / "manifest.json").read_text()) | changes
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelFormatError, match=r"manifest\.json was altered"):
        rs.load_model(saved)


def test_newer_format_says_how_to_upgrade(saved):
    rewrite(saved, format=model_store.FORMAT + 1)
    with pytest.raises(ModelFormatError, match=r"has model format 4; .*pip install -U"):
        rs.load_model(saved)


@pytest.mark.parametrize("text", [None, "", "{}", "[1]", "not json", '{"kind": "something else"}', "\udcff"])
def test_folder_that_is_no_model_is_refused(tmp_path, text):
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ModelFormatError, match="is not a model"):
        rs.load_model(tmp_path)


def test_missing_folder_and_plain_file_are_refused(tmp_path):
    with pytest.raises(ModelFormatError, match="there is no model at"):
        rs.load_model(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelFormatError, match="is not a model"):
        rs.load_model(tmp_path / "file")


def test_existing_model_is_kept_unless_it_may_be_overwritten(saved):
    before = content(saved)
    other = fit(rank=2)
    with pytest.raises(OutputError, match="exists already"):
        other.save(saved)
    assert content(saved) == before
    other.save(saved, overwrite=True)
    assert rs.load_model(saved).rank == 2
    assert [each.name for each in saved.parent.iterdir()] == ["model"]


def test_overwrite_spares_what_is_no_model(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_text("dear")
    (tmp_path / "file").write_text("dear")
    for name in ("photos", "file"):
        with pytest.raises(OutputError, match="is not a model, so it is not overwritten"):
            fit().save(tmp_path / name, overwrite=True)
    assert (tmp_path / "photos" / "one.jpg").read_text() == (tmp_path / "file").read_text() == "dear"


@pytest.mark.parametrize("path", ["nowhere/model", "file/model"])
def test_path_that_cannot_be_written_is_refused(tmp_path, path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="cannot write"):
        fit().save(tmp_path / path)


def test_what_is_no_path_is_refused(saved):
    model = rs.load_model(saved)
    for call in (model.save, rs.load_model, model.recommend_file, lambda path: rs.report(model, path)):
        with pytest.raises(OptionError, match="expected a path or URL, such as 'folder/name'; got 3"):
            call(3)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_failure_while_writing_leaves_the_old_model_as_it_was(saved, monkeypatch, error):
    before = content(saved)

    def fail(*_):
        raise error

    monkeypatch.setattr(model_store, "file_entry", fail)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        fit(rank=2).save(saved, overwrite=True)
    assert content(saved) == before
    assert [each.name for each in saved.parent.iterdir()] == ["model"]


def test_hash_of_factors_is_that_of_their_little_endian_bytes():
    model = fit()
    data = model.user_factors.astype("<f4").tobytes() + model.item_factors.astype("<f4").tobytes()
    assert model.factors_sha256() == hashlib.sha256(data).hexdigest()


def test_without_verification_only_sizes_are_compared(saved):
    data = bytearray((saved / "item_factors.npy").read_bytes())
    data[-9] ^= 1
    (saved / "item_factors.npy").write_bytes(data)
    assert rs.load_model(saved, verify=False).rank == 3


def test_fingerprint_of_a_saved_model_is_read_and_not_computed(saved, monkeypatch):
    expected = fit().fingerprint
    monkeypatch.setattr(rs.FactorModel, "factors_sha256", None)
    assert rs.load_model(saved, verify=False).fingerprint == expected


def test_fingerprint_tells_factors_ids_and_seen_items_apart(saved):
    model = rs.load_model(saved)
    ids = rs.UserItemMatrix.from_scipy(np.eye(12), users=list("abcdefghijkl")).users
    others = [
        dataclasses.replace(model, user_factors=model.user_factors + np.float32(1)),
        dataclasses.replace(model, users=ids),
        dataclasses.replace(model, seen=SeenItems(model.seen.indptr, model.seen.indices[::-1])),
    ]
    assert len({each.fingerprint for each in (model, *others)}) == 4
    assert dataclasses.replace(model).fingerprint == model.fingerprint


def test_model_without_a_fingerprint_in_its_manifest_still_has_one(saved):
    rewrite(saved, fingerprint=None)
    assert rs.load_model(saved).fingerprint == fit().fingerprint


def test_copy_with_other_arrays_is_not_taken_for_what_is_stored(saved):
    model = rs.load_model(saved)
    assert model.stored is not None
    assert dataclasses.replace(model, user_factors=model.user_factors * 2).stored is None


def test_stored_arrays_are_those_of_the_model_until_it_is_replaced(saved):
    stored = pickle.loads(pickle.dumps(rs.load_model(saved).stored))
    (factors,) = stored.arrays("user_factors")
    np.testing.assert_array_equal(factors, fit().user_factors)
    fit(rank=2).save(saved, overwrite=True)
    with pytest.raises(ModelFormatError, match="was replaced after it was loaded"):
        stored.arrays("user_factors")


WRITER = """
import sys
import recscale_dask as rs
from dataclasses import replace
model, path, count = rs.load_model(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(count):
    replace(model, user_factors=model.user_factors * (number + 1)).save(path, overwrite=True)
    print(number, flush=True)
"""


def test_a_reader_sees_the_old_or_the_new_while_a_model_is_replaced_and_its_writer_is_killed(saved, tmp_path):
    first = rs.load_model(saved)
    saved.rename(tmp_path / "first")
    first.save(saved)
    command = [sys.executable, "-c", WRITER, tmp_path / "first", saved, "1000000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "0\n"
        seen = set()
        for _ in range(50):
            found = rs.load_model(saved)
            times = found.user_factors[0, 0] / first.user_factors[0, 0]
            np.testing.assert_array_equal(found.user_factors, first.user_factors * np.float32(round(times)))
            seen.add(round(times))
        writer.send_signal(signal.SIGKILL)
    assert len(seen) > 1
    assert rs.load_model(saved).n_interactions == first.n_interactions
    first.save(saved, overwrite=True)
    assert rs.load_model(saved).factors_sha256() == first.factors_sha256()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["first", "model"]


def test_a_model_that_is_replaced_after_its_files_were_opened_is_read_anew(saved):
    newer = fit(rank=2)

    def replaced_once(*fields):
        if len(list(saved.parent.iterdir())) == 1:
            newer.save(saved.parent / "newer")
            newer.save(saved, overwrite=True)
        return rs.FactorModel(*fields)

    assert model_store.load_model(saved, replaced_once).factors_sha256() == newer.factors_sha256()
