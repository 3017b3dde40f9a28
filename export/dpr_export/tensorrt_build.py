# ONNX -> TensorRT plan: the only file that talks to TensorRT's builder. Not yet run on a GPU (docs/engines.md).
"""Build a plan with TensorRT."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dpr_export.errors import ExportError
from dpr_infer._optional import require_tensorrt
from dpr_infer.engines.profiles import Profile

if TYPE_CHECKING:
    import tensorrt as trt

__all__ = ["PlanBuilder"]


class PlanBuilder:
    """TensorRT's builder, and the timings it has taken so far.

    Parameters
    ----------
    timing_cache : bytes
        Timings of an earlier build on the same kind of device; empty for none.

    Raises
    ------
    MissingExtraError
        If TensorRT is not installed.
    ExportError
        If TensorRT does not start, for want of a device say.
    """

    def __init__(self, timing_cache: bytes = b"") -> None:
        require_tensorrt()
        import tensorrt as trt

        self._logger = trt.Logger(trt.Logger.WARNING)
        try:
            builder = trt.Builder(self._logger)  # the first call that needs a device
        except Exception as error:  # pybind11 raises TypeError where there is no device
            raise ExportError(f"TensorRT: expected a builder, got {error}; it says more on stderr") from error
        self._builder = builder
        self.timing_cache = timing_cache

    def supports(self, operator: str) -> bool:
        """Tell whether this TensorRT's parser knows an ONNX operator."""
        return self._parser(self._network()).supports_operator(operator)

    def build(self, name: str, model: bytes, profiles: Sequence[Profile], *, tf32: bool) -> bytes:
        """Build a plan.

        Parameters
        ----------
        name : str
            The graph's name, for messages.
        model : bytes
            An ONNX model; its types are what TensorRT computes in.
        profiles : sequence of dict of str to Range
            The sizes that the plan is for.
        tf32 : bool
            Whether float32 products may be rounded to TensorFloat-32, which has the ten bits of float16.

        Returns
        -------
        bytes
            The plan.

        Raises
        ------
        ExportError
            If TensorRT can't read the model, takes no profile, or builds nothing.
        """
        import tensorrt as trt

        network = self._network()
        parser = self._parser(network)
        if not parser.parse(model):
            reasons = [parser.get_error(index).desc() for index in range(parser.num_errors)]
            raise ExportError(
                f"{name}: expected a graph that TensorRT can read, got: {'; '.join(reasons)[:1000]}"
            )
        config = self._builder.create_builder_config()
        if not tf32:
            config.clear_flag(trt.BuilderFlag.TF32)
        self._add_timings(config)
        for profile in profiles:
            if config.add_optimization_profile(self._profile(profile)) < 0:
                raise ExportError(
                    f"{name}: expected TensorRT to take the profile {profile}; it says why not on stderr"
                )
        plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            raise ExportError(f"{name}: expected a plan from TensorRT, got none; it says why on stderr")
        self.timing_cache = bytes(config.get_timing_cache().serialize())
        return bytes(plan)

    def _network(self) -> trt.INetworkDefinition:
        import tensorrt as trt

        # TensorRT 11 knows no other kind, and ignores the flag.
        return self._builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))

    def _parser(self, network: trt.INetworkDefinition) -> trt.OnnxParser:
        import tensorrt as trt

        return trt.OnnxParser(network, self._logger)

    def _profile(self, profile: Profile) -> trt.IOptimizationProfile:
        import tensorrt as trt

        made = self._builder.create_optimization_profile()
        for name, limits in profile.items():
            made.set_shape(
                name, *(trt.Dims(list(shape)) for shape in (limits.least, limits.usual, limits.greatest))
            )
        return made

    def _add_timings(self, config: trt.IBuilderConfig) -> None:
        """Give the builder the timings there are; those of another device or version are dropped."""
        cache = config.create_timing_cache(self.timing_cache)
        if not config.set_timing_cache(cache, ignore_mismatch=False):
            config.set_timing_cache(config.create_timing_cache(b""), ignore_mismatch=False)
