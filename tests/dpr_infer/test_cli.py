# The command lines as a user meets them: output, JSON, errors and exit codes.

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import tiny_bundle
from dpr_infer import Recommender
from dpr_infer.bundle import open_bundle
from dpr_infer.cli import launch

QUERY, BUNDLE = "dpr_infer.cli.query_command", "dpr_infer.cli.bundle_command"


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command in this process: (exit code, stdout, stderr)."""

    def run(module, *arguments):
        monkeypatch.setattr(sys, "argv", ["dpr", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            launch(module)
        output = capsys.readouterr()
        return left.value.code, output.out, output.err

    monkeypatch.setenv("COLUMNS", "120")
    return run


def test_query_shows_both_rankings_and_what_was_understood(cli, bundle_path):
    code, out, err = cli(QUERY, bundle_path, "--example", "user 1", "--prompt", "comedy, no war")
    assert (code, err) == (0, "")
    for text in ("History", "Plain", "Steered · comedy, no war", "asks for Comedy 1.00", "refuses War 1.00"):
        assert text in out
    for text in ("toward0 4.000", "encode prompt", "total", "new ↑", "↑", "↓"):
        assert text in out
    assert max(map(len, out.splitlines())) <= 120


def test_narrow_screens_stack_the_rankings(cli, bundle_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    _, out, _ = cli(QUERY, bundle_path, "--example", "1", "--prompt", "comedy")
    assert max(map(len, out.splitlines())) <= 70
    assert out.index("Plain") < out.index("Steered")
    assert not any("Plain" in line and "Steered" in line for line in out.splitlines())


def test_query_without_a_prompt_or_history_is_the_start_of_a_new_user(cli, bundle_path):
    code, out, _ = cli(QUERY, bundle_path)
    assert code == 0
    assert "a new user" in out
    assert "Steered" not in out


def test_json_document(cli, bundle_path, recommender):
    asked = ["--history", "i100, i107", "--prompt", "no war", "--k", 4, "--where", "drama | war"]
    asked += ["--steer", "strict", "--strength", 0.5, "--exclude", "i114", "--json"]
    code, out, _ = cli(QUERY, bundle_path, *asked)
    assert code == 0
    document = json.loads(out)
    options = {"k": 4, "where": "drama | war", "steer": "strict", "strength": 0.5, "exclude": ["i114"]}
    answer = recommender.query(["i100", "i107"], "no war", **options)
    assert [entry["item_id"] for entry in document["steered"]] == answer.items
    assert [entry["score"] for entry in document["steered"]] == answer.scores.tolist()
    plain = recommender.query(["i100", "i107"], None, **options)
    assert [entry["item_id"] for entry in document["plain"]] == plain.items
    assert document["options"] == options | {"exclude_history": True}
    assert document["history"] == [
        {"item_id": "i100", "title": "Film 0 (1950)"},
        {"item_id": "i107", "title": "Film 1 (1951)"},
    ]
    deep = recommender.query(["i100", "i107"], None, **(options | {"k": 40})).items
    assert [entry["plain_rank"] for entry in document["steered"]] == [deep.index(i) + 1 for i in answer.items]
    assert document["wishes"] == [{"tag": "War", "asked": 0.0, "refused": 1.0}]
    assert document["gates"] == pytest.approx(dict(answer.gates))
    assert set(document["timings_ms"]) > {"total", "score"}


def test_json_without_a_prompt(cli, bundle_path):
    document = json.loads(cli(QUERY, bundle_path, "--titles", "film 3 ; film 12", "--json")[1])
    assert [entry["title"] for entry in document["history"]] == ["Film 3 (1953)", "Film 12 (1962)"]
    assert document["steered"] is None
    assert len(document["plain"]) == 10


def test_keep_history(cli, bundle_path):
    document = json.loads(cli(QUERY, bundle_path, "--example", "1", "--k", 40, "--keep-history", "--json")[1])
    assert len(document["plain"]) == 40


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--history", "i1"], 2, "error: history must name items"),
        (["--example", "nobody"], 2, "error: example must be one of this bundle's 3 ('user 0', "),
        (["--titles", "qqqqqq"], 2, "error: titles must be of this catalogue"),
        (["--where", "horror"], 2, "error: where must name tags"),
        (["--strength", "-1"], 2, "error: strength must be"),
        (["--steer", "hard"], 2, "error: steer must be"),
        (["--history", "i100", "--example", "1"], 2, "exclude each other"),
        (["--k", "0"], 2, "--k"),
        (["--nonsense"], 2, "--nonsense"),
    ],
)
def test_wrong_arguments_exit_with_2(cli, bundle_path, arguments, code, message):
    got, out, err = cli(QUERY, bundle_path, *arguments)
    assert (got, out) == (code, "")
    assert message in err
    assert "Traceback" not in err


def test_broken_bundle_exits_with_1_and_one_line(cli, copy):
    (copy / "backbone.onnx").write_bytes(b"x")
    for module, arguments in ((QUERY, [copy]), (BUNDLE, ["verify", copy]), (BUNDLE, ["inspect", copy])):
        code, out, err = cli(module, *arguments)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert err.startswith("error: backbone.onnx must have")


def test_inspect(cli, bundle_path):
    code, out, _ = cli(BUNDLE, "inspect", bundle_path)
    assert code == 0
    for text in (
        "40 items x 16",
        "Sci-Fi",
        "toward0",
        "1e-06",
        "may be redistributed",
        "catalogue.safetensors",
        "KiB",
    ):
        assert text in out
    document = json.loads(cli(BUNDLE, "inspect", bundle_path, "--json")[1])
    assert document["dims"]["items"] == 40
    assert document["files"]["backbone.onnx"]["bytes"] == (bundle_path / "backbone.onnx").stat().st_size


def test_inspect_shows_the_indexes(cli, tmp_path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "both", items=300, hnsw=True)
    code, out, _ = cli(BUNDLE, "inspect", folder)
    assert code == 0
    document = json.loads(cli(BUNDLE, "inspect", folder, "--json")[1])
    index = document["index"]
    assert index["parts"] == [8, 8]
    size = (folder / "index.hnsw").stat().st_size
    for text in (
        f"{index['blocks']} blocks of 64 items in {index['clusters']} clusters, ",
        f"codes lie at most {index['code_error'][0]:.3g} and ",
        f"M 2, ef_construction 8, {size / 1024:.3g} KiB",
        "Recall of HNSW: 3 example and 0 drawn histories, 1 prompts",
        "ef 32",
        "0.8750",
    ):
        assert text in " ".join(out.split())
    assert document["hnsw"] == {
        "items": 300,
        "m": 2,
        "ef_construction": 8,
        "recall": [{"k": 10, "ef": 32, "queries": "plain", "recall": 0.875}],
        "measured_on": {"examples": 3, "drawn": 0, "prompts": ["no war"]},
    }


def test_inspect_tells_of_a_bundle_without_indexes(cli, tmp_path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "old", version=1)
    code, out, _ = cli(BUNDLE, "inspect", folder)
    assert code == 0
    assert "bundle format 1" in out
    assert "none in this format version; built in memory when the bundle is opened" in " ".join(out.split())
    assert "Recall" not in out
    document = json.loads(cli(BUNDLE, "inspect", folder, "--json")[1])
    assert (document["index"], document["hnsw"]) == (None, None)


def test_verify_recomputes_the_bounds(cli, copy):
    path = copy / "catalogue.safetensors"
    arrays = {name: np.array(array) for name, array in load_file(path).items()}
    arrays["index.bounds"][0, 3] *= 0.5  # norms
    save_file(arrays, path)
    tiny_bundle.reseal(copy)
    code, out, err = cli(BUNDLE, "verify", copy)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("error: catalogue.safetensors: ")


def test_verify_reads_every_byte(cli, tmp_path):
    folder = tiny_bundle.write_tiny_bundle(tmp_path / "large", items=20_000, user=16)
    code, out, _ = cli(BUNDLE, "verify", folder)
    assert code == 0
    assert "whole; 8 files" in out
    with (folder / "catalogue.safetensors").open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\xaa\x55\xaa\x55")
    code, _, err = cli(BUNDLE, "verify", folder)
    assert code == 1
    assert "catalogue.safetensors must have the SHA-256" in err


def test_titles_of_a_bundle_cannot_steer_the_terminal(cli, copy):
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = pq.read_table(copy / "items.parquet").to_pydict()
    columns["title"] = [f"\x1b[2J[red]{title}[/red]\n" for title in columns["title"]]
    pq.write_table(pa.table(columns), copy / "items.parquet")
    tiny_bundle.reseal(copy)
    code, out, _ = cli(QUERY, copy, "--example", "1", "--prompt", "comedy")
    assert code == 0
    assert "\x1b" not in out
    assert "[red]Film" in out


@pytest.mark.parametrize("name", ["typer", "rich"])
def test_missing_cli_extra_is_told(cli, bundle_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    code, _, err = cli(QUERY, bundle_path)
    assert code == 1
    assert "needs dpr-infer[cli]" in err


@pytest.mark.parametrize("entry", ["query", "bundle"])
def test_entry_points(entry):
    code = f"from dpr_infer.cli.{entry} import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout


def test_add_items_writes_a_larger_bundle(cli, bundle_path, tmp_path):
    items, out = tmp_path / "items.csv", tmp_path / "new"
    items.write_text("id,title,tags,text,year\nn1,New One,War|Comedy,a long text,2030\nn2,New Two,,,\n")
    code, said, err = cli(BUNDLE, "add-items", bundle_path, "--items", items, "--out", out)
    assert (code, said) == (0, f"{out}: 42 items, 2 of them new; bundle format 5\n")
    way_out = "the bundle has no text encoder; dpr-export --text-encoder int8 makes one that has"
    assert err.splitlines() == [
        "items.csv: column 'year': it is not used",
        f"items.csv: column 'text': not read, items lie where their tags say: {way_out}",
        f"items.csv: 1 of 2 items have no tags, and no prompt finds them ('n2'): {way_out}",
    ]
    code, said, _ = cli(BUNDLE, "verify", out)
    assert code == 0
    assert "42 items" in said
    said = cli(BUNDLE, "inspect", out)[1]
    assert "42 items x 16 (8 collaborative + 8 side), 2 of them added without training" in " ".join(
        said.split()
    )
    dims = json.loads(cli(BUNDLE, "inspect", out, "--json")[1])["dims"]
    assert (dims["items"], dims["trained_items"]) == (42, 40)
    answer = json.loads(cli(QUERY, out, "--prompt", "comedy and war", "--json")[1])
    assert "n1" in [item["item_id"] for item in answer["steered"]]


def test_add_items_reads_texts_where_the_bundle_can(cli, tmp_path):
    golden, items, out = Path(__file__).parents[1] / "golden" / "v7", tmp_path / "items.csv", tmp_path / "new"
    items.write_text("id,title,tags,text\nn1,A Kite,War,In a harbour\nn2,Of the Parade,,\n")
    code, said, err = cli(BUNDLE, "add-items", golden, "--items", items, "--out", out)
    assert (code, said, err) == (0, f"{out}: 81 items, 2 of them new; bundle format 7\n", "")
    live = Recommender(golden)
    live.add_items(
        ["n1", "n2"], titles=["A Kite", "Of the Parade"], tags=[["War"], []], texts=["In a harbour", ""]
    )
    added = open_bundle(out).catalogue.vectors[-2:]
    assert added[:, -2:].any(axis=1).all()
    answers = [r.query([], "war", 81) for r in (Recommender(out), live)]
    assert answers[0].scores.tobytes() == answers[1].scores.tobytes()
    assert "made by hand, fp32; 9 tokens, 2 wide" in " ".join(cli(BUNDLE, "inspect", golden)[1].split())
    assert cli(BUNDLE, "verify", out)[0] == 0


def test_add_items_says_what_is_wrong(cli, bundle_path, tmp_path):
    items, out = tmp_path / "items.csv", tmp_path / "new"
    for text, message in (
        ("id,title,tags\ni100,X,War\n", "item_ids must be new; the bundle has 'i100'"),
        ("id,title,tags\nn1,X,Horror\n", "tags must be of the bundle's 6 tags; 'Horror' of 'n1' is none"),
        ("id,title,tags\n", "there must be items to add; got none"),
        ("id,title\n", "items.csv must have each of the columns id, title, tags once; got id, title"),
    ):
        items.write_text(text)
        assert cli(BUNDLE, "add-items", bundle_path, "--items", items, "--out", out) == (
            2,
            "",
            f"error: {message}\n",
        )
    items.write_text("id,title,tags\nn1,X,War\n")
    assert cli(BUNDLE, "add-items", tmp_path, "--items", items, "--out", out)[0] == 1
    out.write_text("mine")
    code, _, err = cli(BUNDLE, "add-items", bundle_path, "--items", items, "--out", out, "--force")
    assert (code, out.read_text()) == (2, "mine")
    assert "left untouched" in err
    code, said, err = cli(BUNDLE, "add-items", bundle_path, "--items", items, "--out", out / "below")
    assert (code, said) == (1, "")
    assert err.startswith(f"error: {out / 'below'} cannot be written: ")
