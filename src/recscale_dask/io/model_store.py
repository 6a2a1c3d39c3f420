"""Models on disk: a folder of plain arrays, id maps in Arrow, and a manifest in JSON; no pickle.

The arrays are memory-mapped on loading. The manifest has a format number and the size and SHA-256 of
every file, so a truncated or altered model is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.arrow_file import read_vocabulary, write_arrow
from recscale_dask.data.blocked_array import parts_of
from recscale_dask.data.vocabulary import Vocabulary
from recscale_dask.errors import ModelFormatError
from recscale_dask.item_operators.kinds import KINDS
from recscale_dask.manifest import MANIFEST, FolderKind, file_entry
from recscale_dask.model import Certificate, Factors, SeenItems
from recscale_dask.outputs import written_folder
from recscale_dask.remote import is_url, local_copy

FORMAT = 3
"""The newest format: its files may be in a folder of the model's. Models are written in the oldest that will do, which
earlier versions read too: 1, or 2 with an item operator."""

MODEL = FolderKind(
    noun="model",
    format=FORMAT,
    given_by="Give the folder that `recscale fit --out` or `model.save` wrote.",
    again="Fit and save it again.",
    error=ModelFormatError,
)
"""What the folder of a model is."""

_Opened = TypeVar("_Opened")

_OPERATOR = "operator_"  # of names of files
_TRAINING = "training_"  # of names of files; models that were saved before there were any hold none


def save_model(model: Factors, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a model to a folder, at a path or URL, that appears whole or not at all.

    Raises
    ------
    OutputError
        If the path exists (and `overwrite` is false), is something else than a model, or cannot be written.
    """
    arrays: dict[str, Any] = {
        "user_factors": model.user_factors,
        "item_factors": model.item_factors,
        "singular_values": model.singular_values,
        "seen_indptr": model.seen.indptr,
        "seen_indices": model.seen.indices,
    }
    arrays |= {f"{_TRAINING}{name}": array for name, array in model.training.items()}
    if model.item_operator is not None:
        arrays |= {f"{_OPERATOR}{name}": array for name, array in model.item_operator.arrays().items()}
    if model.certificate is not None:
        arrays["residuals"] = model.certificate.residuals
    with written_folder(MODEL, path, overwrite=overwrite) as new:
        folder = new.files
        folder.mkdir(parents=True)
        for name, array in arrays.items():
            _write_array(folder / f"{name}.npy", array)
        for name, vocabulary in (("users", model.users), ("items", model.items)):
            write_arrow(folder / f"{name}.arrow", {"id": vocabulary.ids})
        certificate = None
        if model.certificate is not None:
            certificate = {"tol": model.certificate.tol, "passes": model.certificate.passes}
        fields = {
            "n_users": len(model.users),
            "n_items": len(model.items),
            "rank": model.rank,
            "certificate": certificate,
            "provenance": dict(model.provenance),
            "fingerprint": model.fingerprint,
            **({} if model.item_operator is None else {"item_operator": model.item_operator.settings()}),
            "files": {f"{new.prefix}{each.name}": file_entry(each) for each in sorted(folder.iterdir())},
        }
        oldest = 3 if new.prefix else 1 if model.item_operator is None else 2
        replace(MODEL, format=oldest).write(new.path, fields)


def load_model(path: str | os.PathLike[str], make: Callable[..., Factors] = Factors, *, verify: bool = True) -> Factors:
    """Read a model; its arrays are memory-mapped.

    Parameters
    ----------
    path : path or URL
        A folder that `save_model` wrote; one at a URL is copied to this machine first, until the process ends.
    make : callable
        Class of the result.
    verify : bool
        Compare the SHA-256 of each file with the manifest (reads every byte once).

    Raises
    ------
    ModelFormatError
        If the folder is missing, no model, truncated, altered, or of a newer format.
    """
    return MODEL.read_with(path, lambda manifest: _loaded(path, manifest, make, verify))


def _loaded(
    path: str | os.PathLike[str], manifest: dict[str, Any], make: Callable[..., Factors], verify: bool
) -> Factors:
    folder = _copied(os.fspath(path), manifest) if is_url(path) else Path(path)
    for name, entry in manifest["files"].items():
        MODEL.check_file(folder / name, entry, verify=verify)
    files = _files(folder, manifest)

    def array(name: str) -> Any:
        return np.load(files[name], mmap_mode="r", allow_pickle=False)

    try:
        certificate = None
        if manifest["certificate"] is not None:
            tol, passes = manifest["certificate"]["tol"], manifest["certificate"]["passes"]
            certificate = Certificate(array("residuals"), tol, passes)
        operator = None
        if "item_operator" in manifest:
            settings = manifest["item_operator"]
            kept = {name.removeprefix(_OPERATOR): array(name) for name in files if name.startswith(_OPERATOR)}
            operator = KINDS[settings["kind"]].from_arrays(kept, settings)
        model = make(
            array("user_factors"),
            array("item_factors"),
            array("singular_values"),
            read_vocabulary(files["users"]),
            read_vocabulary(files["items"]),
            SeenItems(array("seen_indptr"), array("seen_indices")),
            certificate,
            manifest["provenance"],
            {name.removeprefix(_TRAINING): array(name) for name in files if name.startswith(_TRAINING)},
            operator,
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
        return self._opened(
            lambda files: tuple(np.load(files[name], mmap_mode="r", allow_pickle=False) for name in names)
        )

    def users(self) -> Vocabulary:
        """Return the users of the model, memory-mapped; raises what `arrays` does."""
        return self._opened(lambda files: read_vocabulary(files["users"]))

    def _opened(self, opening: Callable[[dict[str, Path]], _Opened]) -> _Opened:
        if not self.folder.exists():
            raise ModelFormatError(
                f"there is no model at {self.folder}, where it was loaded from. Workers that share files with the "
                "driver read it themselves: load it from a folder that all of them see, or open the executor with "
                "shared_files=False."
            )

        def content(manifest: dict[str, Any]) -> tuple[str, _Opened]:
            try:
                return manifest["sha256"], opening(_files(self.folder, manifest))
            except (KeyError, OSError, ValueError, pa.ArrowInvalid) as error:
                raise ModelFormatError(f"{self.folder} is not a whole model: {error}. {MODEL.again}") from error

        sha256, opened = MODEL.read_with(self.folder, content)
        if sha256 != self.manifest_sha256:
            raise ModelFormatError(f"the model at {self.folder} was replaced after it was loaded. Load it again.")
        return opened


def _copied(url: str, manifest: dict[str, Any]) -> Path:
    """Return the folder of this machine's copy of the model at a URL."""
    names = [*manifest["files"], MANIFEST]
    return [local_copy(url.rstrip("/"), name, manifest["sha256"], ModelFormatError) for name in names][-1].parent


def _files(folder: Path, manifest: dict[str, Any]) -> dict[str, Path]:
    """Return where the files of a model are, by what is in them."""
    return {Path(name).stem: folder / name for name in manifest["files"]}


def _write_array(path: Path, array: Any) -> None:
    """Write an array in NumPy's format, piece by piece."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(array.dtype).str, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts_of(array):
            part.tofile(file)
