# Bundles of every version give the same answers, with an index or without, with an output "released" or without;
# an index that is not one of its vectors is refused.

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tiny_bundle
from dpr_infer import BundleError, EngineError, Recommender
from dpr_infer.bundle import open_bundle

IDS = tiny_bundle.item_ids(300)
HISTORIES = [[], IDS[:3], IDS[40:60], [IDS[299]]]
PROMPTS = [None, "comedy", "no war please", "drama and no comedy"]


@pytest.fixture(scope="module")
def versions(tmp_path_factory) -> dict[int, Path]:
    """The same bundle in all formats, several blocks and a width that no block divides."""
    base = tmp_path_factory.mktemp("versions")
    sizes = {"items": 300, "user": 9, "side": 7}
    return {
        version: tiny_bundle.write_tiny_bundle(base / str(version), version=version, **sizes)
        for version in (1, 2, 3, 4)
    }


@pytest.fixture
def damaged(versions, tmp_path):
    """Copy the newest bundle, change its catalogue's arrays, and bring the checksums up to date."""

    def damage(change) -> Path:
        folder = tmp_path / "damaged"
        folder.mkdir()
        for path in versions[4].iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        arrays = {
            name: np.array(array) for name, array in load_file(folder / "catalogue.safetensors").items()
        }
        changed = change(arrays)
        save_file(arrays if changed is None else changed, folder / "catalogue.safetensors")
        tiny_bundle.reseal(folder)
        return folder

    return damage


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", [{}, {"where": "!action", "steer": "strict"}, {"strength": 3.0}])
def test_all_versions_answer_alike(versions, threads, options):
    oldest, *newer = (Recommender(path, threads=threads) for path in versions.values())
    for k in (1, 10, 300):
        expected = oldest.search_arrays(HISTORIES, PROMPTS, k, **options)
        for recommender in newer:
            rows, scores = recommender.search_arrays(HISTORIES, PROMPTS, k, **options)
            assert rows.tobytes() == expected[0].tobytes()
            if recommender.manifest.format_version < 4:
                assert scores.tobytes() == expected[1].tobytes()
            else:  # its graphs sum in another order
                np.testing.assert_allclose(scores, expected[1], rtol=1e-5, atol=1e-6)


def test_a_prompt_is_fused_once_from_version_4_on(versions, monkeypatch):
    recommender = Recommender(versions[4])
    engine, runs = recommender._pipeline._encoder._fusion._of_prompt, []
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda feed: runs.append(feed["tokens"].shape[1]) or run(feed))
    prompts = ["comedy", ["comedy", "no war"], ["comedy", {"War": "refuse"}], "comedy", None]
    first = recommender.query_batch(HISTORIES[:1] * 5, prompts)
    assert len(runs) == 3
    again = recommender.query_batch(HISTORIES[:1] * 5, prompts)
    assert len(runs) == 3
    for left, right in zip(first, again, strict=True):
        assert left.scores.tobytes() == right.scores.tobytes()
    assert [answer.prompt_cached for answer in again] == [True, True, True, True, False]


@pytest.mark.parametrize("output", range(5))
def test_a_prompt_fusion_that_gives_nan_is_told(versions, monkeypatch, output):
    recommender = Recommender(versions[4])
    engine = recommender._pipeline._encoder._fusion._of_prompt
    run = engine.run

    def spoiled(feed):
        outputs = [part.copy() for part in run(feed)]
        outputs[output].flat[0] = float("nan")
        return outputs

    monkeypatch.setattr(engine, "run", spoiled)
    for _ in range(2):  # nothing of it is kept
        with pytest.raises(EngineError, match="prompt_fusion must give finite numbers"):
            recommender.query(HISTORIES[0], "comedy")


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_what_is_taken_back_is_read_from_version_3_on(versions, version):
    recommender = Recommender(versions[version])
    reading = recommender._pipeline.read_prompt("comedy and whatever war")
    assert (reading.released.shape, reading.released.dtype) == ((6,), np.float32)
    assert reading.released.any() == (version >= 3)
    assert len(recommender.wishes(["no war", "whatever war"])) == (version < 3)


@pytest.mark.parametrize(("version", "told"), [(3, 4), (4, 3)])
def test_graphs_of_another_version_are_refused(versions, tmp_path, version, told):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in versions[version].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tiny_bundle.edit_manifest(folder, lambda m: m.update(format_version=told))
    with pytest.raises(BundleError, match=r"graphs must be an object with exactly the keys backbone, "):
        Recommender(folder)


@pytest.mark.parametrize(("version", "told"), [(2, 3), (3, 2), (3, 1)])
def test_outputs_of_another_version_are_refused(versions, tmp_path, version, told):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in versions[version].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tiny_bundle.edit_manifest(folder, lambda m: m.update(format_version=told))
    ports = (
        "tokens, wish, released; got tokens, wish$"
        if told == 3
        else "tokens, wish; got tokens, wish, released$"
    )
    with pytest.raises(BundleError, match=f"prompt_encoder: outputs must be {ports}"):
        Recommender(folder)


def test_a_graph_that_is_not_what_the_manifest_says_of_it(versions, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in versions[3].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "prompt_encoder.onnx").write_bytes((versions[2] / "prompt_encoder.onnx").read_bytes())
    tiny_bundle.reseal(folder)
    with pytest.raises(BundleError, match=r"prompt_encoder\.onnx: outputs must be tokens, wish, released;"):
        Recommender(folder)


def test_threads_change_nothing(versions):
    one, three = (Recommender(versions[2], threads=threads) for threads in (1, 3))
    left, right = (r.search_arrays(HISTORIES * 9, None, 20) for r in (one, three))
    # The engines may sum otherwise; with the same user vectors, the kernel must not.
    np.testing.assert_array_equal(left[0], right[0])
    np.testing.assert_allclose(left[1], right[1], rtol=1e-5, atol=1e-6)


def test_the_kernel_gets_the_threads(versions, monkeypatch):
    recommender = Recommender(versions[2], threads=3)
    scorer, asked = recommender._pipeline._scorer, []
    catalogue = scorer.catalogue

    class Spy:
        n_rows = catalogue.n_rows

        def search(self, *arrays, **options):
            asked.append(arrays[-1])
            return catalogue.search(*arrays, **options)

    monkeypatch.setattr(scorer, "catalogue", Spy())
    recommender.query([])
    assert asked == [3]


def test_the_manifest_says_which_version_it_is(versions):
    assert Recommender(versions[1]).manifest.format_version == 1
    assert Recommender(versions[1]).manifest.index is None
    for version in (2, 3, 4):
        manifest = Recommender(versions[version]).manifest
        assert (manifest.format_version, manifest.index.parts) == (version, (9, 7))
        assert manifest.index.blocks >= 5
        assert manifest.hnsw is None


def test_the_size_that_the_manifest_implies_is_that_of_the_tensors(versions):
    bundle = open_bundle(versions[2])
    assert bundle.manifest.index.bytes == sum(array.nbytes for array in bundle.catalogue.index.values())


def test_index_is_mapped_and_read_only(versions):
    index = open_bundle(versions[2]).catalogue.index
    assert sorted(index) == ["bounds", "centres", "cluster", "codes", "rows"]
    for array in index.values():
        assert not array.flags.writeable
        while isinstance(array, np.ndarray):
            array = array.base
        assert isinstance(array.obj, mmap.mmap)


def test_a_version_without_an_index_must_not_have_one(versions, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    for path in versions[2].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    tiny_bundle.edit_manifest(folder, lambda m: m.update(format_version=1))
    with pytest.raises(
        BundleError, match="must hold the tensors vectors, tag_bits, tag_embeddings, tag_vectors;"
    ):
        Recommender(folder)


def scaled(name: str, factor: float):
    return lambda a: a[name].__imul__(np.asarray(factor, a[name].dtype))


@pytest.mark.parametrize("name", ["codes", "rows", "cluster", "bounds", "centres"])
@pytest.mark.parametrize("damage", ["missing", "type", "shorter", "flat"])
def test_index_tensors_of_another_kind(damaged, name, damage):
    tensor = f"index.{name}"
    changes = {
        "missing": lambda a: {n: v for n, v in a.items() if n != tensor},
        "type": lambda a: a | {tensor: a[tensor].astype(np.float64)},
        "shorter": lambda a: a | {tensor: np.ascontiguousarray(a[tensor][..., :-1])},
        "flat": lambda a: a | {tensor: a[tensor].reshape(-1, 1)},
    }
    message = "must hold the tensors" if damage == "missing" else rf"index\.{name} must be"
    if name == "cluster" and damage == "shorter":
        message = r"index\.cluster must be U32 \(\d+,\); got U32 \(\d+,\)"
    folder = damaged(changes[damage])
    with pytest.raises(BundleError, match=rf"^catalogue\.safetensors.* {message}|{message}"):
        Recommender(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a["index.rows"].__setitem__((0, 0), 300),
        lambda a: a["index.rows"].__setitem__((0, 0), 2**32 - 1),
        lambda a: a["index.rows"].__setitem__((0, 0), a["index.rows"][0, 1]),
        lambda a: a["index.cluster"].__setitem__(-1, len(a["index.centres"])),
        lambda a: a["index.cluster"].__setitem__(-1, 2**32 - 1),
        lambda a: a["index.bounds"].__setitem__((0, 0, 0), np.nan),
        lambda a: a["index.bounds"].__setitem__((1, 3, 1), np.inf),
        lambda a: a["index.centres"].__setitem__((0, 0), np.nan),
    ],
    ids=["row too large", "row lost", "row twice", "cluster", "cluster far", "nan", "inf", "centre"],
)
def test_an_index_that_is_none_is_refused(damaged, change):
    folder = damaged(change)
    with pytest.raises(BundleError, match=r"^catalogue\.safetensors: "):
        Recommender(folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("blocks", 4, "blocks must be an integer from 5 to 300; got 4"),
        ("blocks", 301, "blocks must be an integer from 5 to 300; got 301"),
        ("blocks", 299, r"index.rows must be U32 \(299, 64\)"),
        ("clusters", 0, "clusters must be an integer from 1 to 300"),
        ("clusters", 300, r"index.centres must be F32 \(300, 16\)"),
        ("parts", [16], r"parts must be dims.user and dims.side, without a 0: \[9, 7\]; got \[16\]"),
        ("parts", [8, 8], "parts must be dims.user"),
        ("parts", 9, "parts must be an array"),
        ("code_error", [0.1], "code_error must be one number a part, 2 of them"),
        ("code_error", [0.1, -1], r"code_error\[1\] must be a finite number from 0"),
        (None, 3, "index must be an object"),
    ],
)
def test_what_the_manifest_says_of_the_index(damaged, key, value, message):
    folder = damaged(lambda a: None)

    def edit(manifest):
        if key is None:
            manifest["index"] = value
        else:
            manifest["index"][key] = value

    tiny_bundle.edit_manifest(folder, edit)
    with pytest.raises(BundleError, match=message):
        Recommender(folder)


SCALE, CODE_ERROR, CODE_NORM, NORM, ALONG_MIN, ALONG_MAX, ACROSS = range(7)


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize(
    ("bound", "tampered"),
    [
        (CODE_ERROR, lambda x: 0.5 * x),
        (CODE_NORM, lambda x: 0.5 * x),
        (NORM, lambda x: 0.5 * x),
        (ALONG_MIN, lambda x: x + 1),
        (ALONG_MAX, lambda x: x - 1),
        (ACROSS, lambda x: 0.5 * x - 0.01),
        (SCALE, lambda x: 2 * x),
    ],
    ids=["code_error", "code_norm", "norm", "along_min", "along_max", "across", "scale"],
)
def test_full_verification_finds_a_bound_that_does_not_hold(damaged, part, bound, tampered):
    def change(arrays):
        line = arrays["index.bounds"][part, bound]
        line[-1] = (
            np.maximum(tampered(line[-1]), 0) if bound not in (ALONG_MIN, ALONG_MAX) else tampered(line[-1])
        )

    folder = damaged(change)
    with pytest.raises(BundleError, match=r"^catalogue\.safetensors: .*block"):
        Recommender(folder, verify="full")


def test_full_verification_finds_codes_of_other_vectors(damaged):
    folder = damaged(
        lambda a: a["index.codes"].__setitem__((0, 0, 0, 0), a["index.codes"][0, 0, 0, 0] ^ 0x40)
    )
    with pytest.raises(BundleError, match=r"^catalogue\.safetensors: .*block 0"):
        Recommender(folder, verify="full")


def test_an_untouched_copy_is_verified(damaged):
    Recommender(damaged(lambda a: None), verify="full")
