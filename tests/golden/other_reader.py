# A second reader of bundles, written from docs/bundle_format.md (and from what that points to) alone, as somebody would
# in another language. It imports nothing of dpr_infer, uses no index, and computes in float64, which is exact for the
# golden bundles. That it answers like the runtime says that the document is complete.

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow.parquet as pq
from tokenizers import Tokenizer

DTYPES = {"F32": "<f4", "U64": "<u8", "U8": "u1", "U32": "<u4"}


class OtherReader:
    """Opens a bundle of any version and answers queries."""

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != "dpr-bundle" or manifest["format_version"] not in (1, 2, 3, 4, 5, 6, 7):
            raise ValueError("not a bundle of a known version")
        for name, entry in manifest["files"].items():
            content = (folder / name).read_bytes()
            if len(content) != entry["bytes"] or hashlib.sha256(content).hexdigest() != entry["sha256"]:
                raise ValueError(f"{name} is damaged")
        self.manifest, self.dims = manifest, manifest["dims"]
        self.trained = self.dims.get("trained_items", self.dims["items"])
        self.tensors = _safetensors((folder / "catalogue.safetensors").read_bytes())
        items = pq.read_table(folder / "items.parquet").to_pydict()
        self.ids, self.titles = items["item_id"], items["title"]
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / graph["file"], providers=["CPUExecutionProvider"])
            for name, graph in manifest["graphs"].items()
        }
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(manifest["limits"]["prompt_tokens"])

    def query(
        self,
        history: list[str],
        prompt: Any,
        k: int,
        where: str | None = None,
        steer: str = "soft",
        strength: float = 1,
    ) -> tuple[list[str], list[float]]:
        """Return ids and scores, best first."""
        rows = [self.ids.index(item) for item in history]
        tokens = [row + 1 for row in rows if row < self.trained][-self.manifest["limits"]["history"] :] or [0]
        (user,) = self.sessions["backbone"].run(["user"], {"items": np.array([tokens], np.int64)})
        self._check_steps([row for row in rows if row < self.trained], user)
        reading = self._read([prompt] if isinstance(prompt, str) else prompt or [])
        scores = self._scores(user, reading, strength)
        allowed = self._allowed(rows, where, reading[1] if reading and steer == "strict" else None)
        best = sorted(allowed, key=lambda row: (-scores[row], row))[:k]
        return [self.ids[row] for row in best], [float(scores[row]) for row in best]

    def place(self, title: str, tags: list[str], text: str) -> np.ndarray:
        """Return where an item lies that is added: [0 ‖ w], float32 (D,)."""
        vector = np.zeros(self.dims["item"], np.float32)
        for g, name in enumerate(self.manifest["tags"]):
            if name in tags:
                vector[self.dims["user"] :] += self.tensors["tag_vectors"][g]
        if "text_encoder" in self.sessions:
            title, named = _sentence(title.strip()), _sentence(", ".join(dict.fromkeys(tags)))
            rest = _sentence(text.strip().removeprefix(title).lstrip())
            self.tokenizer.enable_truncation(self.manifest["limits"]["text_tokens"])
            ids = self.tokenizer.encode(" ".join(part for part in (title, named, rest) if part)).ids
            self.tokenizer.enable_truncation(self.manifest["limits"]["prompt_tokens"])
            feed = {
                "input_ids": np.array([ids], np.int64),
                "attention_mask": np.ones((1, len(ids)), np.int64),
            }
            vector[-self.dims["text"] :] += self.sessions["text_encoder"].run(["place"], feed)[0][0]
        return vector

    def _check_steps(self, rows: list[int], user: np.ndarray) -> None:
        """Where items can be read one by one, that must give the same user vector, up to the limit."""
        if "backbone_step" not in self.sessions or len(rows) > self.manifest["limits"]["history"]:
            return
        stepped, state = None, np.zeros((1, self.dims["state"]), np.float32)
        for token in [0, *(row + 1 for row in rows)]:
            feed = {"items": np.array([[token]]), "state": state}
            stepped, state = self.sessions["backbone_step"].run(["user", "next_state"], feed)
        if not np.array_equal(stepped, user):
            raise ValueError("backbone_step does not go on as backbone reads")

    def _read_turn(self, text: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        ids = self.tokenizer.encode(text).ids
        if not text.strip() or not ids:
            return None
        given = np.array([ids], np.int64)
        feed = {
            "input_ids": given,
            "attention_mask": np.ones_like(given),
            "tag_embeddings": self.tensors["tag_embeddings"],
        }
        names = [output["name"] for output in self.manifest["graphs"]["prompt_encoder"]["outputs"]]
        found = dict(zip(names, self.sessions["prompt_encoder"].run(names, feed), strict=True))
        released = found.get("released", np.zeros((1, self.dims["tags"]), np.float32))
        return found["tokens"][0], found["wish"][0], released[0]

    def _read(self, turns: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
        """Return tokens and wish after the last turn, by docs/turns.md; None if nothing is said."""
        readings = [reading for reading in map(self._read_turn, turns) if reading is not None]
        if len(readings) <= 1:
            return readings[0][:2] if readings else None
        threshold = np.float32(self.manifest["wish_threshold"])
        holder: dict[int, int] = {}
        began, taken_back = False, set()
        for number, (_, wish, released) in enumerate(readings):
            strength = wish.max(axis=1)
            standing = bool(holder)
            for g in range(len(wish)):
                if standing and released[g] >= threshold and released[g] > strength[g]:
                    holder.pop(g, None)
                    taken_back.add(g)
                elif strength[g] >= threshold:
                    began = True
                    holder[g] = number
                    taken_back.discard(g)
        if not began:
            return readings[0][:2]
        if not holder:
            return None
        held = sorted(set(holder.values()))
        wish = readings[held[0]][1].copy()
        wish[sorted(taken_back)] = 0
        for g, number in holder.items():
            wish[g] = readings[number][1][g]
        tokens = np.concatenate([readings[number][0] for number in held])
        return tokens[-self.manifest["limits"]["prompt_tokens"] :], wish

    def _experts(
        self, user: np.ndarray, reading: tuple[np.ndarray, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        tokens, wish = reading[0][None], reading[1][None]
        of_prompt = {
            "tokens": tokens,
            "attention_mask": np.ones(tokens.shape[:2], np.int64),
            "wish": wish,
            "tag_vectors": self.tensors["tag_vectors"],
        }
        of_user = {"user": user} | of_prompt
        if "prompt_fusion" in self.sessions:
            names = ["keys", "values", "hidden", "sides", "strengths"]
            share = self.sessions["prompt_fusion"].run(names, of_prompt)
            of_user = {
                "user": user,
                "attention_mask": of_prompt["attention_mask"],
                **dict(zip(names, share, strict=True)),
            }
        experts, gates = self.sessions["fusion_moe"].run(["experts", "gates"], of_user)
        return experts[0].astype(np.float64), gates[0].astype(np.float64)

    def _scores(self, user: np.ndarray, reading: Any, strength: float) -> np.ndarray:
        vectors = self.tensors["vectors"].astype(np.float64)
        query = np.concatenate([user[0].astype(np.float64), np.zeros(self.dims["side"])])
        penalty = np.zeros(len(vectors))
        if reading is not None and strength != 0:
            experts, gates = self._experts(user, reading)
            for z, gate, expert in zip(experts, gates, self.manifest["experts"], strict=True):
                if gate == 0:
                    continue
                if expert["role"] == "toward":
                    query = query + strength * gate * z
                else:
                    x = vectors @ z + expert["bias"]
                    penalty += gate * (np.maximum(x, 0) if self.manifest["phi"]["kind"] == "relu" else np.nan)
        return vectors @ query - strength * penalty

    def _allowed(self, rows: list[int], where: str | None, wish: np.ndarray | None) -> list[int]:
        threshold = np.float32(self.manifest["wish_threshold"])
        names = [tag.lower() for tag in self.manifest["tags"]]
        allowed = []
        for row, words in enumerate(self.tensors["tag_bits"]):
            has = {name for g, name in enumerate(names) if int(words[g // 64]) >> g % 64 & 1}
            refused = wish is not None and any(
                wish[g, 1] >= threshold and names[g] in has for g in range(len(names))
            )
            # As much of docs/where.md as is asked here: conjunctions of tags and of tags that must not be there.
            terms = where.split("&") if where else []
            fits = all((term.strip(" !") in has) != ("!" in term) for term in terms)
            if row not in rows and fits and not refused:
                allowed.append(row)
        return allowed


def _sentence(part: str) -> str:
    return part + "." if part and part[-1] not in ".!?" else part


def _safetensors(content: bytes) -> dict[str, np.ndarray]:
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        data = content[8 + length + begin : 8 + length + end]
        tensors[name] = np.frombuffer(data, DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors
