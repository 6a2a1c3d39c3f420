"""Tests of a kit that cannot pass yet, each with its reason."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest


class KnownGaps:
    """Base of the kits: what `known_gaps` names is expected to fail, and noticed when it passes."""

    known_gaps: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = [name for name in cls.known_gaps if not hasattr(cls, name)]
        if unknown:
            raise TypeError(f"known_gaps of {cls.__name__} names no test of the kit: {', '.join(unknown)}")

    @pytest.fixture(autouse=True)
    def _expect_known_gaps(self, request: pytest.FixtureRequest) -> None:
        reason = self.known_gaps.get(getattr(request.node, "originalname", ""))
        if reason is not None:
            request.node.add_marker(pytest.mark.xfail(reason=reason, strict=True))
