# The model that serves: what it is called, and reloads that succeed or leave everything as it was.

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

import tiny_bundle
from dpr_infer import Recommender
from dpr_infer.errors import BundleError, EngineError, ProviderError, QueryError
from dpr_infer.serve.served_model import ServedModel
from dpr_infer.serve.settings import Settings

Client = TestClient[Litestar]
MakeClient = Callable[..., Client]
ADMIN = {"X-Admin-Key": "admin"}


def replace(folder: Path, **sizes: Any) -> None:
    """Put another bundle into a folder."""
    shutil.rmtree(folder)
    tiny_bundle.write_tiny_bundle(folder, **sizes)


def damage(folder: Path) -> None:
    """Change a byte of a file, leaving its size; the old file stays mapped."""
    content = bytearray((folder / "catalogue.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "catalogue.safetensors").unlink()
    (folder / "catalogue.safetensors").write_bytes(content)


def test_name_and_version(copy: Path):
    served = ServedModel(Settings(bundle=str(copy)))
    digest = hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest()
    assert (served.name, served.version) == ("copy", digest[:12])


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("ml-100k", "ml-100k"), ("my shop/2026", "my-shop-2026"), ("", "copy"), (5, "copy"), ("...", "model")],
)
def test_the_name_of_the_data_set_goes_first(copy: Path, dataset: object, name: str):
    tiny_bundle.edit_manifest(copy, lambda manifest: manifest["made_by"].update(dataset=dataset))
    assert ServedModel(Settings(bundle=str(copy))).name == name


def test_every_byte_is_checked_unless_told_otherwise(copy: Path):
    grown = copy.parent / "grown"
    tiny_bundle.write_tiny_bundle(grown, items=20_000)  # its catalogue is larger than 1 MiB
    damage(grown)
    with pytest.raises(BundleError, match="SHA-256"):
        ServedModel(Settings(bundle=str(grown)))
    ServedModel(Settings(bundle=str(grown), verify="fast"))


def test_what_runs_the_graphs_is_the_settings_to_say(copy: Path):
    some, nobodys = {"bundle": str(copy)}, ("NoSuchExecutionProvider",)
    with pytest.raises(ProviderError, match="NoSuchExecutionProvider"):
        ServedModel(Settings(**some, provider=nobodys))
    served = ServedModel(Settings(**some, provider=nobodys, allow_fallback=True))
    assert served.recommender.providers == ("CPUExecutionProvider",)
    with pytest.raises(QueryError, match="the engine is openvino"):
        ServedModel(Settings(**some, engine="openvino", provider=("CPUExecutionProvider",)))
    with pytest.raises(QueryError, match="precision with the engine onnxruntime"):
        ServedModel(Settings(**some, precision="bf16"))


def test_no_folder(tmp_path: Path):
    with pytest.raises(BundleError, match="must be a bundle"):
        ServedModel(Settings(bundle=str(tmp_path / "none")))


def test_warming_up_asks_in_every_way(copy: Path, monkeypatch: pytest.MonkeyPatch):
    served = ServedModel(Settings(bundle=str(copy), max_batch=8))
    seen, answer = [], Recommender.query_batch

    def see(self: Recommender, histories: Any, prompts: Any = None, *args: Any, **options: Any) -> Any:
        histories = list(histories)
        seen.append((len(histories), prompts is not None))
        return answer(self, histories, prompts, *args, **options)

    monkeypatch.setattr(Recommender, "query_batch", see)
    served.warm()
    assert {(size, prompted) for size in (1, 2, 4, 8) for prompted in (False, True)} <= set(seen)


def test_warming_up_a_bundle_without_examples(tmp_path: Path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "bare", examples=0)
    ServedModel(Settings(bundle=str(folder), max_batch=1)).warm()


def test_a_reload_puts_the_new_bundle_in_place(copy: Path):
    served = ServedModel(Settings(bundle=str(copy), max_batch=1))
    before = served.current
    replace(copy, seed=1)
    previous, current = served.reload()
    assert (previous, current) == (before, served.current)
    assert served.version != before.version
    assert before.recommender.query(["i100"]).items  # who still uses it is not disturbed


def test_a_reload_that_fails_to_open_or_to_answer_changes_nothing(
    copy: Path, monkeypatch: pytest.MonkeyPatch
):
    served = ServedModel(Settings(bundle=str(copy), max_batch=1))
    before = served.current

    def fail(self: Recommender, *args: Any, **options: Any) -> Any:
        raise EngineError("no")

    with monkeypatch.context() as patch:
        patch.setattr(Recommender, "query_batch", fail)
        with pytest.raises(EngineError):
            served.reload()
    assert served.current is before
    damage(copy)
    with pytest.raises(BundleError):
        served.reload()
    assert served.current is before


def test_tag_expressions_are_checked_against_the_model(copy: Path):
    model = ServedModel(Settings(bundle=str(copy))).current
    model.check_where("comedy & !war")
    with pytest.raises(QueryError):
        model.check_where("nothing")


@pytest.fixture
def reloadable(make_client: MakeClient, copy: Path) -> Client:
    return make_client(bundle=str(copy), admin_key="admin")


def test_the_admin_route_reloads(reloadable: Client, copy: Path):
    before = reloadable.get("/v1/model").json()["model"]
    replace(copy, seed=1)
    answer = reloadable.post("/v1/admin/reload", headers=ADMIN)
    assert answer.status_code == 200
    after = answer.json()
    assert after["previous"] == before
    assert after["model"] == reloadable.post("/v1/recommend", json={}).json()["model"] != before
    metrics = reloadable.get("/metrics").text
    assert 'dpr_reloads_total{result="ok"} 1.0' in metrics
    assert f'dpr_model_info{{name="copy",version="{after["model"]["version"]}"}} 1.0' in metrics
    assert before["version"] not in metrics


def test_a_bad_bundle_is_409_and_the_old_one_goes_on(reloadable: Client, copy: Path):
    before = reloadable.post("/v1/recommend", json={"k": 3}).json()
    damage(copy)
    answer = reloadable.post("/v1/admin/reload", headers=ADMIN)
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:dpr:bad-bundle"
    assert "catalogue.safetensors must have the SHA-256" in answer.json()["detail"]
    after = reloadable.post("/v1/recommend", json={"k": 3}).json()
    assert (after["model"], after["items"]) == (before["model"], before["items"])
    assert 'dpr_reloads_total{result="failed"} 1.0' in reloadable.get("/metrics").text


def test_requests_are_answered_while_a_bundle_is_opened(
    reloadable: Client, copy: Path, monkeypatch: pytest.MonkeyPatch
):
    from concurrent.futures import ThreadPoolExecutor

    opening, go_on = Event(), Event()
    reload = ServedModel.reload

    def slow(self: ServedModel) -> Any:
        opening.set()
        go_on.wait()
        return reload(self)

    monkeypatch.setattr(ServedModel, "reload", slow)
    with ThreadPoolExecutor(1) as pool:
        reloading = pool.submit(reloadable.post, "/v1/admin/reload", headers=ADMIN)
        opening.wait()
        assert reloadable.post("/v1/recommend", json={}).status_code == 200
        go_on.set()
        assert reloading.result().status_code == 200


def test_a_session_outlives_items_that_a_new_bundle_drops(reloadable: Client, copy: Path):
    last = tiny_bundle.item_ids(40)[-1]
    state = reloadable.post("/v1/sessions", json={"history": ["i100", last], "exclude": [last]}).json()
    replace(copy, items=20)
    assert reloadable.post("/v1/admin/reload", headers=ADMIN).status_code == 200
    answer = reloadable.post(f"/v1/sessions/{state['id']}/turns", json={"turn": "comedy"})
    assert answer.status_code == 200
    assert reloadable.post("/v1/recommend", json={"history": [last]}).status_code == 422
