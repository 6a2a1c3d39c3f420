"""What differs between what something was made of and what is asked for now, for messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MOST = 4
_LONGEST = 60  # characters of a value
_HASHES = ("sha256", "fingerprint", "digest")


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return what differs between two mappings of plain values, as a sentence; empty if nothing does.

    Of mappings within them only what differs is told, and of hashes only that they do.

    Examples
    --------
    >>> differences({"k": 10, "users": None}, {"k": 20, "users": None})
    'k was 10, and is 20 now'
    """
    found = list(_each(was, now))
    more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return "; ".join(found[:_MOST]) + more


def _each(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in sorted({*was, *now}):
        before, after = was.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += [f"{name}: {each}" for each in _each(before, after)]
        elif name in _HASHES:
            found.append(f"{name} is another")
        else:
            found.append(f"{name} was {_short(before)}, and is {_short(after)} now")
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
