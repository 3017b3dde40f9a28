# Looks at what a graph gives: sizes that are named in its declaration cannot be known before it is run, and NumPy would
# make something of an array of the wrong one.

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpr_infer.engine import Engine
from dpr_infer.errors import EngineError
from dpr_infer.graph_contract import Port

_DTYPES = {"float32": np.dtype(np.float32), "int64": np.dtype(np.int64)}


class CheckedEngine:
    """An engine whose outputs have the dtypes and shapes of the contract, or an error says which has not.

    Parameters
    ----------
    name : str
        The graph's name.
    engine : Engine
        What runs it.
    inputs, outputs : dict
        Its ports, as `graph_contract.contract` has them.
    """

    def __init__(self, name: str, engine: Engine, inputs: Port, outputs: Port) -> None:
        self._name = name
        self._engine = engine
        places = {
            size: (port, axis)
            for port, (_, shape) in inputs.items()
            for axis, size in enumerate(shape)
            if isinstance(size, str)
        }
        self._batch_of = places["B"][0]  # an input whose first axis is the batch, as that of every output is
        # For each output its name, its dtype, and for each axis but the first a size or an input's axis that has it.
        self._expected = [
            (
                port,
                _DTYPES[dtype],
                tuple(places[size] if isinstance(size, str) else size for size in shape[1:]),
            )
            for port, (dtype, shape) in outputs.items()
        ]

    @property
    def providers(self) -> tuple[str, ...]:
        """What runs the graph's nodes, by name."""
        return self._engine.providers

    @property
    def on_cpu(self) -> bool:
        """Whether that is the CPU."""
        return self._engine.on_cpu

    def run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """Run the graph, as `Engine.run`; raises EngineError also if an output is not of the contract."""
        given = self._engine.run(feed)
        if len(given) != len(self._expected):
            raise EngineError(f"{self._name} must give {len(self._expected)} outputs; got {len(given)}")
        batch = (len(feed[self._batch_of]),)
        for number, (port, dtype, sizes) in enumerate(self._expected):
            output = given[number]
            # Most shapes are known but for the batch; this runs twice in every query.
            if output.shape == batch + sizes and output.dtype is dtype:
                continue
            shape = batch + tuple(feed[at[0]].shape[at[1]] if isinstance(at, tuple) else at for at in sizes)
            if output.shape != shape or output.dtype != dtype:
                raise EngineError(
                    f"{self._name} must give {port} as {dtype} {shape}; got {output.dtype} {output.shape}"
                )
        return given
