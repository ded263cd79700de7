"""Who may move the robot: one known, healthy source of chunks, made for this robot.

A source tells about itself again and again; what it publishes chunks through is known by endpoint
(a gid), so that a second source, or another one in its place, is seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

PATIENCE_S = 3.0  # a source tells about itself once a second


@dataclass(frozen=True)
class ChunkSource:
    """What a source of chunks tells about itself.

    Attributes:
        fingerprint: of the embodiment it was made for.
        action_space: name of the space of its chunks.
        policy: which weights these are, or which device a person moves.
        trouble: why it could not plan now, or "".
        ages: s, of each sensor stream as it sees them.
    """

    fingerprint: str
    action_space: str
    policy: str
    trouble: str
    ages: Mapping[str, float]


class SourceWatch:
    """Keeps what is known of the source; `now` is s of a steady clock everywhere."""

    def __init__(self, fingerprint: str, action_space: str) -> None:
        """
        Args:
            fingerprint: of this robot's embodiment.
            action_space: that the controller executes.
        """
        self._fingerprint = fingerprint
        self._action_space = action_space
        self._told_at: float | None = None
        self._endpoints: frozenset[str] = frozenset()
        self._trusted: str | None = None  # the endpoint that the robot was armed with
        self.source: ChunkSource | None = None

    def tell(self, source: ChunkSource, now: float) -> None:
        """The source told about itself."""
        self.source, self._told_at = source, now

    def see(self, endpoints: Collection[str]) -> None:
        """These endpoints publish chunks at the moment. A new one has to tell about itself: what was told before, by
        whoever was there before, says nothing about it."""
        if not self._endpoints.issuperset(endpoints):
            self.source, self._told_at = None, None
        self._endpoints = frozenset(endpoints)

    def age(self, now: float) -> float:
        """s since the source told about itself; inf if it never did."""
        return float("inf") if self._told_at is None else now - self._told_at

    def problems(self, now: float) -> list[str]:
        """Everything that speaks against arming, in words; empty where nothing does."""
        found = []
        if len(self._endpoints) != 1:
            found.append(f"expected one publisher of action_chunk, there are {len(self._endpoints)}")
        if self.source is None:
            return [*found, "no source of chunks has told about itself on chunk_source"]
        if self.age(now) > PATIENCE_S:
            found.append(f"the source of chunks has been silent for {self.age(now):.1f} s, allowed {PATIENCE_S:g} s")
        if self.source.fingerprint != self._fingerprint:
            found.append(
                f"the source of chunks was made for an embodiment with fingerprint {self.source.fingerprint}, "
                f"this robot has {self._fingerprint}; use the same embodiment file for both"
            )
        if self.source.action_space != self._action_space:
            found.append(
                f"the source plans in action space '{self.source.action_space}', "
                f"the controller executes '{self._action_space}'"
            )
        if self.source.trouble:
            found.append(f"the source of chunks is not ready: {self.source.trouble}")
        return found

    @property
    def trusted(self) -> bool:
        """Whether somebody is followed at the moment."""
        return self._trusted is not None

    def trust(self) -> None:
        """The robot is armed with the one endpoint that is there now."""
        (self._trusted,) = self._endpoints

    def release(self) -> None:
        """The robot follows nobody any more."""
        self._trusted = None

    def lost(self, now: float) -> str:
        """Why the trusted source may not go on, in words, or ""."""
        if self._trusted is None:
            return ""
        if self._trusted not in self._endpoints:
            return "another publisher of action_chunk took its place" if self._endpoints else "the policy is gone"
        if len(self._endpoints) > 1:
            return f"a second publisher of action_chunk appeared; there are {len(self._endpoints)}"
        if self.age(now) > PATIENCE_S:
            return f"the policy has been silent for {self.age(now):.1f} s"
        return ""
