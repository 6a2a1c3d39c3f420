"""Manifests of folders that we write: a JSON file that says what is in there, of which format, and by which hashes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from recscale_dask.errors import RecscaleError
from recscale_dask.remote import is_url, read_text

MANIFEST = "manifest.json"
_PROGRAM = "recscale_dask"
_Content = TypeVar("_Content")


@dataclass(frozen=True, slots=True)
class FolderKind:
    """What a folder can be, and what is said when it is not.

    Attributes
    ----------
    noun : str
        What it is called: "model", "store".
    format : int
        The newest format that this version reads, and the one it writes.
    given_by : str
        What to give instead of a folder that is something else, as a sentence.
    again : str
        How to make a damaged one anew, as a sentence.
    error : type
        Raised of all that is wrong.
    """

    noun: str
    format: int
    given_by: str
    again: str
    error: type[RecscaleError]

    @property
    def _kind(self) -> str:
        return f"{_PROGRAM} {self.noun}"

    def dump(self, fields: dict[str, Any]) -> str:
        """Return the text of a manifest with these fields, which are plain JSON values."""
        manifest = {"kind": self._kind, "format": self.format, **fields}
        return json.dumps({**manifest, "sha256": _sha256_of(manifest)}, indent=2) + "\n"

    def write(self, folder: Path, fields: dict[str, Any]) -> None:
        """Write the manifest of a folder."""
        (folder / MANIFEST).write_text(self.dump(fields), encoding="utf-8")

    def read(self, place: str | os.PathLike[str]) -> dict[str, Any]:
        """Return the manifest of a folder at a path or URL, checked.

        Raises
        ------
        RecscaleError
            Of the kind's type, if the folder is missing, something else, altered, or of a newer format.
        """
        there = is_url(place) or Path(place).exists()
        where = os.fspath(place)
        if not there:
            raise self.error(f"there is no {self.noun} at {where}. {self.given_by}")
        try:
            text = self._text(where)
        except (OSError, ValueError) as error:
            raise self._other(
                where, f"its {MANIFEST} cannot be read ({getattr(error, 'strerror', None) or error})"
            ) from error
        if text is None:
            if is_url(where):
                raise self.error(f"there is no {self.noun} at {where}. {self.given_by}")
            raise self._other(where, f"it has no {MANIFEST}")
        try:
            manifest = json.loads(text)
        except ValueError as error:
            raise self._other(where, f"its {MANIFEST} is no JSON ({error})") from error
        if not isinstance(manifest, dict) or manifest.get("kind") != self._kind:
            raise self.error(
                f"{where} is not a {self.noun} of recscale_dask: its {MANIFEST} is of something else. {self.given_by}"
            )
        if not isinstance(manifest.get("format"), int) or manifest["format"] > self.format:
            raise self.error(
                f"{where} has {self.noun} format {manifest.get('format')}; this recscale_dask reads up to "
                f"{self.format}. Upgrade with: pip install -U recscale-dask"
            )
        if manifest.get("sha256") != _sha256_of({name: manifest[name] for name in manifest if name != "sha256"}):
            raise self.error(f"{where} is not a whole {self.noun}: its {MANIFEST} was altered. {self.again}")
        return manifest

    def read_with(self, place: str | os.PathLike[str], content: Callable[[dict[str, Any]], _Content]) -> _Content:
        """Return the content of a folder; what was replaced while it was read is read anew.

        Parameters
        ----------
        place : path or URL
        content : callable
            Called with the manifest, and again with another one; what it returned last is returned.

        Raises
        ------
        RecscaleError
            Of the kind's type, from `read` and from `content`.
        """
        manifest = self.read(place)
        while True:
            try:
                found = content(manifest)
            except self.error:
                newer = self.read(place)
                if newer == manifest:
                    raise
            else:
                newer = self.read(place)
                if newer == manifest:  # else some files may be of the one, and some of the other
                    return found
            manifest = newer

    def is_at(self, place: str | os.PathLike[str]) -> bool:
        """Return whether a path or URL is a folder with a manifest of this kind, of whatever format.

        Raises
        ------
        RecscaleError
            Of the kind's type, if it is a URL that cannot be looked at.
        """
        try:
            return bool(json.loads(self._text(os.fspath(place)) or "{}")["kind"] == self._kind)
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def check_file(self, path: Path, entry: dict[str, Any], *, verify: bool) -> None:
        """Raise an error unless a file has the size, and if `verify` the hash, of its `file_entry`."""
        if not path.is_file():
            raise self.error(f"{path} is missing from the {self.noun}. {self.again}")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise self.error(
                f"{path} has {size} bytes, not {entry['bytes']}: it was truncated or altered. {self.again}"
            )
        if verify and _file_sha256(path) != entry["sha256"]:
            raise self.error(f"{path} was altered after the {self.noun} was saved: its SHA-256 differs. {self.again}")

    def _text(self, place: str) -> str | None:
        """Return the text of a manifest; None if there is none."""
        if is_url(place):
            return read_text(place, MANIFEST, self.error)
        try:
            return Path(place, MANIFEST).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _other(self, where: str, why: str) -> RecscaleError:
        return self.error(f"{where} is not a {self.noun}: {why}. {self.given_by}")


def noun_of(manifest: bytes) -> str | None:
    """Return what the folder with a manifest is called: "model", "store", ...; None if it is none of ours."""
    try:
        program, _, noun = str(json.loads(manifest)["kind"]).partition(" ")
    except (ValueError, KeyError, TypeError):
        return None
    return noun if program == _PROGRAM else None


def file_entry(path: Path) -> dict[str, Any]:
    """Return what a manifest says of a file: its size and its SHA-256."""
    return {"bytes": path.stat().st_size, "sha256": _file_sha256(path)}


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()
