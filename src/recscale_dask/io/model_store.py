"""Models on disk: a folder of plain arrays, id maps in Arrow, and a manifest in JSON; no pickle.

The arrays are memory-mapped on loading. The manifest has a format number and the size and SHA-256 of
every file, so a truncated or altered model is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.atomic import written_beside
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import ModelFormatError, OutputError
from recscale_dask.model import Certificate, Factors, SeenItems

FORMAT = 1
_KIND = "recscale_dask model"
_MANIFEST = "manifest.json"
_TRAINING = "training_"  # of names of files; models that were saved before there were any hold none


def save_model(model: Factors, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a model to a folder that appears whole or not at all.

    Raises
    ------
    OutputError
        If the path exists (and `overwrite` is false), is something else than a model, or cannot be written.
    """
    folder = Path(path)
    if overwrite and folder.exists() and not _is_model(folder):
        raise OutputError(f"{folder} exists and is not a model, so it is not overwritten. Choose another path.")
    arrays: dict[str, Any] = {
        "user_factors": model.user_factors,
        "item_factors": model.item_factors,
        "singular_values": model.singular_values,
        "seen_indptr": model.seen.indptr,
        "seen_indices": model.seen.indices,
    }
    arrays |= {f"{_TRAINING}{name}": array for name, array in model.training.items()}
    if model.certificate is not None:
        arrays["residuals"] = model.certificate.residuals
    with written_beside(path, overwrite=overwrite) as folder:
        folder.mkdir()
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
        for name, vocabulary in (("users", model.users), ("items", model.items)):
            table = pa.table({"id": vocabulary.ids})
            with (
                pa.OSFile(str(folder / f"{name}.arrow"), "wb") as file,
                pa.ipc.new_file(file, table.schema) as writer,
            ):
                writer.write_table(table)
        files = {
            each.name: {"bytes": each.stat().st_size, "sha256": _sha256(each)} for each in sorted(folder.iterdir())
        }
        certificate = None
        if model.certificate is not None:
            certificate = {"tol": model.certificate.tol, "passes": model.certificate.passes}
        manifest = {
            "kind": _KIND,
            "format": FORMAT,
            "n_users": len(model.users),
            "n_items": len(model.items),
            "rank": model.rank,
            "certificate": certificate,
            "provenance": dict(model.provenance),
            "fingerprint": model.fingerprint,
            "files": files,
        }
        manifest["sha256"] = _manifest_sha256(manifest)
        (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def load_model(path: str | os.PathLike[str], make: Callable[..., Factors] = Factors, *, verify: bool = True) -> Factors:
    """Read a model; its arrays are memory-mapped.

    Parameters
    ----------
    path : path
        A folder that `save_model` wrote.
    make : callable
        Class of the result.
    verify : bool
        Compare the SHA-256 of each file with the manifest (reads every byte once).

    Raises
    ------
    ModelFormatError
        If the folder is missing, no model, truncated, altered, or of a newer format.
    """
    folder = Path(path)
    manifest = _read_manifest(folder)
    for name, entry in manifest["files"].items():
        _check_file(folder / name, entry, verify)

    def array(name: str) -> Any:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    try:
        names = [Path(name).stem for name in manifest["files"]]
        certificate = None
        if manifest["certificate"] is not None:
            tol, passes = manifest["certificate"]["tol"], manifest["certificate"]["passes"]
            certificate = Certificate(array("residuals"), tol, passes)
        model = make(
            array("user_factors"),
            array("item_factors"),
            array("singular_values"),
            _read_vocabulary(folder / "users.arrow"),
            _read_vocabulary(folder / "items.arrow"),
            SeenItems(array("seen_indptr"), array("seen_indices")),
            certificate,
            manifest["provenance"],
            {name.removeprefix(_TRAINING): array(name) for name in names if name.startswith(_TRAINING)},
        )
    except (KeyError, OSError, ValueError, pa.ArrowInvalid) as error:
        raise ModelFormatError(f"{folder} is not a whole model: {error}. Fit and save it again.") from error
    stored = ModelFiles(folder.absolute(), manifest["sha256"], manifest.get("fingerprint"))
    object.__setattr__(model, "stored", stored)  # frozen, and no argument: see `Factors.stored`
    return model


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """The folder of a saved model, as what travels to workers that can map its files.

    Attributes
    ----------
    folder : Path
        Absolute.
    manifest_sha256 : str
        Of the manifest that was loaded; files of another one are refused.
    fingerprint : str or None
        That of the model; None if an older version saved it.
    """

    folder: Path
    manifest_sha256: str
    fingerprint: str | None

    def arrays(self, *names: str) -> tuple[NDArray[Any], ...]:
        """Return arrays of the model, memory-mapped.

        Raises
        ------
        ModelFormatError
            If the files are not there, or no longer those that were loaded.
        """
        if not self.folder.exists():
            raise ModelFormatError(
                f"there is no model at {self.folder}, where it was loaded from. Workers that share files with the "
                "driver read it themselves: load it from a folder that all of them see."
            )
        if _read_manifest(self.folder)["sha256"] != self.manifest_sha256:
            raise ModelFormatError(f"the model at {self.folder} was replaced after it was loaded. Load it again.")
        return tuple(np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names)


def _read_manifest(folder: Path) -> dict[str, Any]:
    if not folder.exists():
        raise ModelFormatError(f"there is no model at {folder}")
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(
            f"{folder} is not a model: it has no readable {_MANIFEST} ({error}). Give the folder that "
            "`recscale fit --out` or `model.save` wrote."
        ) from error
    if not isinstance(manifest, dict) or manifest.get("kind") != _KIND:
        raise ModelFormatError(f"{folder} is not a model of recscale_dask: its {_MANIFEST} is of something else")
    if not isinstance(manifest.get("format"), int) or manifest["format"] > FORMAT:
        raise ModelFormatError(
            f"{folder} has model format {manifest.get('format')}; this recscale_dask reads up to {FORMAT}. "
            "Upgrade with: pip install -U recscale-dask"
        )
    if manifest.get("sha256") != _manifest_sha256(manifest):
        raise ModelFormatError(f"{folder} is not a whole model: its {_MANIFEST} was altered. Fit and save it again.")
    return manifest


def _is_model(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))["kind"] == _KIND)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _manifest_sha256(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of all of a manifest but its own."""
    rest = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _check_file(path: Path, entry: dict[str, Any], verify: bool) -> None:
    if not path.is_file():
        raise ModelFormatError(f"{path} is missing from the model. Fit and save it again.")
    size = path.stat().st_size
    if size != entry["bytes"]:
        raise ModelFormatError(f"{path} has {size} bytes, not {entry['bytes']}: it was truncated or altered.")
    if verify and _sha256(path) != entry["sha256"]:
        raise ModelFormatError(f"{path} was altered after the model was saved: its SHA-256 differs.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_vocabulary(path: Path) -> Vocabulary:
    with pa.memory_map(str(path)) as file:
        return Vocabulary(pa.ipc.open_file(file).read_all().column("id").combine_chunks())
