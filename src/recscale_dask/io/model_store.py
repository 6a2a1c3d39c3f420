"""Models on disk: a folder of plain arrays, id maps in Arrow, and a manifest in JSON; no pickle.

The arrays are memory-mapped on loading. The manifest has a format number and the size and SHA-256 of
every file, so a truncated or altered model is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recscale_dask.data.arrow_file import read_vocabulary, write_arrow
from recscale_dask.data.blocked_array import parts_of
from recscale_dask.errors import ModelFormatError
from recscale_dask.item_operators.kinds import KINDS
from recscale_dask.manifest import MANIFEST, FolderKind, file_entry
from recscale_dask.model import Certificate, Factors, SeenItems
from recscale_dask.outputs import written_folder
from recscale_dask.remote import is_url, local_copy

FORMAT = 2
"""The newest format; models without an item operator are written in format 1, which earlier versions read too."""

MODEL = FolderKind(
    noun="model",
    format=FORMAT,
    given_by="Give the folder that `recscale fit --out` or `model.save` wrote.",
    again="Fit and save it again.",
    error=ModelFormatError,
)
"""What the folder of a model is."""

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
    with written_folder(MODEL, path, overwrite=overwrite) as folder:
        folder.mkdir()
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
            "files": {each.name: file_entry(each) for each in sorted(folder.iterdir())},
        }
        plain = replace(MODEL, format=1)
        (plain if model.item_operator is None else MODEL).write(folder, fields)


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
    manifest = MODEL.read(path)
    folder = _copied(os.fspath(path), manifest) if is_url(path) else Path(path)
    for name, entry in manifest["files"].items():
        MODEL.check_file(folder / name, entry, verify=verify)

    def array(name: str) -> Any:
        return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)

    try:
        names = [Path(name).stem for name in manifest["files"]]
        certificate = None
        if manifest["certificate"] is not None:
            tol, passes = manifest["certificate"]["tol"], manifest["certificate"]["passes"]
            certificate = Certificate(array("residuals"), tol, passes)
        operator = None
        if "item_operator" in manifest:
            settings = manifest["item_operator"]
            kept = {name.removeprefix(_OPERATOR): array(name) for name in names if name.startswith(_OPERATOR)}
            operator = KINDS[settings["kind"]].from_arrays(kept, settings)
        model = make(
            array("user_factors"),
            array("item_factors"),
            array("singular_values"),
            read_vocabulary(folder / "users.arrow"),
            read_vocabulary(folder / "items.arrow"),
            SeenItems(array("seen_indptr"), array("seen_indices")),
            certificate,
            manifest["provenance"],
            {name.removeprefix(_TRAINING): array(name) for name in names if name.startswith(_TRAINING)},
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
        if not self.folder.exists():
            raise ModelFormatError(
                f"there is no model at {self.folder}, where it was loaded from. Workers that share files with the "
                "driver read it themselves: load it from a folder that all of them see, or open the executor with "
                "shared_files=False."
            )
        if MODEL.read(self.folder)["sha256"] != self.manifest_sha256:
            raise ModelFormatError(f"the model at {self.folder} was replaced after it was loaded. Load it again.")
        return tuple(np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names)


def _copied(url: str, manifest: dict[str, Any]) -> Path:
    """Return the folder of this machine's copy of the model at a URL."""
    names = [*manifest["files"], MANIFEST]
    copies = [local_copy(f"{url.rstrip('/')}/{name}", manifest["sha256"], ModelFormatError) for name in names]
    return copies[-1].parent


def _write_array(path: Path, array: Any) -> None:
    """Write an array in NumPy's format, piece by piece."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(array.dtype).str, "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts_of(array):
            part.tofile(file)
