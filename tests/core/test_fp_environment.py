# Results do not depend on the floating-point mode that a caller's thread is in, and leave that mode as it is.
import ctypes
import platform
import struct
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from core import oracle
from dpr_infer._core import Catalogue, build_index, supported_simd_levels

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="reads glibc's fenv_t of x86-64"
)

FLUSH_TO_ZERO, DENORMALS_ARE_ZERO, ROUND_UP = 0x8000, 0x0040, 0x4000
STATUS_FLAGS = 0x3F  # sticky records of what happened; not a mode
MXCSR_OFFSET = 28  # in fenv_t, behind the x87 state


class Mode:
    """MXCSR of this thread, through libm's fegetenv and fesetenv."""

    def __init__(self) -> None:
        self._libm = ctypes.CDLL("libm.so.6")
        self._environment = ctypes.create_string_buffer(32)

    def read(self) -> int:
        self._libm.fegetenv(self._environment)
        return int(struct.unpack_from("<I", self._environment, MXCSR_OFFSET)[0])

    def write(self, mxcsr: int) -> None:
        self._libm.fegetenv(self._environment)
        struct.pack_into("<I", self._environment, MXCSR_OFFSET, mxcsr)
        self._libm.fesetenv(self._environment)


@pytest.fixture
def mode() -> Iterator[Mode]:
    this = Mode()
    before = this.read()
    yield this
    this.write(before)


def underflowing() -> tuple[oracle.Floats, oracle.Queries]:
    """Return items and queries whose products and sums are subnormal throughout."""
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(300, 20)) * 1e-38).astype(np.float32)
    queries = oracle.random_queries(rng, 3, 20, oracle.random_rule(rng, 1, 1, "relu"))
    queries.strength[:] = 1
    return vectors, queries


@pytest.mark.parametrize("level", supported_simd_levels())
@pytest.mark.parametrize("bits", [FLUSH_TO_ZERO | DENORMALS_ARE_ZERO, ROUND_UP])
@pytest.mark.parametrize("with_index", [False, True], ids=["plain", "index"])
def test_the_callers_mode_changes_nothing_and_is_kept(
    mode: Mode, level: str, bits: int, with_index: bool
) -> None:
    vectors, queries = underflowing()
    index = build_index(vectors, parts=[20]) if with_index else None
    catalogue = Catalogue(vectors, index=index, simd_level=level)
    rows, scores = queries.search(catalogue, 300)
    reference = queries.reference(catalogue)

    mode.write(mode.read() | bits)
    set_by_us = mode.read() & ~STATUS_FLAGS
    other_rows, other_scores = queries.search(catalogue, 300)
    after_search = mode.read() & ~STATUS_FLAGS
    other_reference = queries.reference(catalogue)
    after_reference = mode.read() & ~STATUS_FLAGS
    mode.write(mode.read() & ~bits)

    assert set_by_us & bits == bits
    assert after_search == after_reference == set_by_us
    np.testing.assert_array_equal(rows, other_rows)
    np.testing.assert_array_equal(scores.view(np.int32), other_scores.view(np.int32))
    np.testing.assert_array_equal(reference.view(np.int32), other_reference.view(np.int32))


def test_the_mode_is_kept_when_a_search_fails(mode: Mode) -> None:
    huge = np.full((1, 1), 3e38, np.float32)
    mode.write(mode.read() | FLUSH_TO_ZERO)
    failed = False
    try:
        oracle.plain_queries(huge).search(Catalogue(huge), 1)
    except ValueError:
        failed = True
    kept = mode.read() & FLUSH_TO_ZERO
    mode.write(mode.read() & ~FLUSH_TO_ZERO)
    assert failed
    assert kept


@pytest.mark.parametrize("bits", [FLUSH_TO_ZERO | DENORMALS_ARE_ZERO, ROUND_UP])
def test_an_index_does_not_depend_on_the_callers_mode(mode: Mode, bits: int) -> None:
    rng = np.random.default_rng(1)
    for size in (1, 1e-38):
        vectors = (rng.normal(size=(9000, 20)) * size).astype(np.float32)
        expected = build_index(vectors, parts=[12, 8])
        mode.write(mode.read() | bits)
        try:
            got = build_index(vectors, parts=[12, 8], threads=3)
            after = mode.read() & bits
        finally:
            mode.write(mode.read() & ~bits)
        assert after == bits
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array, err_msg=name)
