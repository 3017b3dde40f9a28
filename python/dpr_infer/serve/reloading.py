# Reloads of the bundle while requests run: one at a time, off the event loop, counted and written down.

from __future__ import annotations

import asyncio
import logging

from dpr_infer.errors import DprError
from dpr_infer.serve.metrics import Metrics
from dpr_infer.serve.served_model import OpenModel, ServedModel

_log = logging.getLogger("dpr_infer.serve")


class Reloading:
    """Reloads one served model.

    Parameters
    ----------
    served : ServedModel
        The model that serves.
    metrics : Metrics
        Told of every attempt, and of the model that serves.
    """

    def __init__(self, served: ServedModel, metrics: Metrics) -> None:
        self._served = served
        self._metrics = metrics
        self._one_at_a_time = asyncio.Lock()

    async def reload(self) -> tuple[OpenModel, OpenModel]:
        """Serve what is in the bundle's folder now.

        Returns
        -------
        previous, current : OpenModel
            The model of before and that of now.

        Raises
        ------
        DprError
            If there is none that can serve; the model of before goes on, and the log says why.
        """
        async with self._one_at_a_time:
            try:
                previous, current = await asyncio.to_thread(self._served.reload)
            except DprError as error:
                self._metrics.reload_done("failed")
                _log.error(
                    "reload failed, %s %s goes on serving: %s", self._served.name, self._served.version, error
                )
                raise
        self._metrics.reload_done("ok")
        self._metrics.serve_model(current.name, current.version)
        _log.info("reloaded: %s %s serves in place of %s", current.name, current.version, previous.version)
        return previous, current
