"""The progress of several paths that go side by side, as that of one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from distlasso.events import BatchVerified, Event, Listener, PathGrown


@dataclass(slots=True)
class Together:
    """Announces the progress of several responses as that of one path of all their lambdas."""

    listener: Listener
    count: int
    accepted: dict[int, int] = field(default_factory=dict)

    def announce(self, fit: int, event: Event) -> None:
        """Pass on an event of one response."""
        if isinstance(event, BatchVerified):
            self.accepted[fit] = event.n_accepted
            done = sum(self.accepted.values())
            event = replace(event, n_accepted=done, n_lambdas=event.n_lambdas * self.count)
        elif isinstance(event, PathGrown):
            event = replace(event, fit=fit)
        self.listener(event)
