# What the routes work with.

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dpr_infer.serve.access import Keys
from dpr_infer.serve.batcher import Batcher
from dpr_infer.serve.bodies import AnyRequest
from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.readiness import Readiness
from dpr_infer.serve.served_model import ServedModel
from dpr_infer.serve.sessions import SessionStore
from dpr_infer.serve.settings import Settings
from dpr_infer.serve.users import EventStore

if TYPE_CHECKING:
    from dpr_infer.serve.reloading import Reloading


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The parts of one server.

    Attributes
    ----------
    settings, served, batcher, metrics, sessions, readiness, keys, reloading
        As their classes say.
    events : EventStore or None
        Histories of users; None if they are turned off.
    """

    settings: Settings
    served: ServedModel
    batcher: Batcher
    metrics: Metrics
    sessions: SessionStore
    events: EventStore | None
    readiness: Readiness
    keys: Keys
    reloading: Reloading


def services_of(request: AnyRequest) -> Services:
    """Return the parts of the server that a request came to."""
    services: Services = request.app.state.services
    return services
