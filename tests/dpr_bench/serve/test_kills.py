# kill -9: the server as it is loses nothing, and a loss would be seen.

from __future__ import annotations

from pathlib import Path
from threading import Event

from dpr_bench.kernel_progress import Silence
from dpr_bench.serve.client import Client
from dpr_bench.serve.kills import KillResults, KillRound, Sender, kills_markdown, measure_kills
from dpr_bench.serve.pages import describe_setup
from dpr_bench.serve.processes import dpr_serve, serving
from dpr_infer import Recommender


def test_a_kill_loses_nothing(hand_made: Path):
    results = measure_kills(hand_made, 1, Silence(), seed=3)
    (one,) = results.rounds
    assert one.acknowledged > 0
    assert (one.lost, one.disordered_users) == (0, 0)
    assert one.unacknowledged_kept <= 8  # one a sender
    assert "1 kills" in kills_markdown(results, "the command", describe_setup())


def test_events_that_are_lost_are_counted(hand_made: Path, tmp_path: Path):
    items = next(iter(Recommender(hand_made).examples.values()))
    sender, stopped = Sender("an n?", items), Event()
    stopped.set()  # one event, then enough
    with serving(dpr_serve(hand_made, users=str(tmp_path / "one"), core=None)) as server:
        sender.send_until(stopped, server.port)
        with Client(server.port) as client:
            assert sender.lost(client) == 0
            assert sender.history(client) == [items[0]]
    assert len(sender.acknowledged) == 1
    with (
        serving(dpr_serve(hand_made, users=str(tmp_path / "other"), core=None)) as server,
        Client(server.port) as client,
    ):
        assert sender.history(client) == []
        assert sender.lost(client) == 1


def test_a_sender_ends_with_its_server():
    sender = Sender("ann", ["i"])
    sender.send_until(Event(), 1)  # nobody listens there
    assert sender.acknowledged == []


def test_totals():
    rounds = [
        KillRound(acknowledged=5, lost=n, unacknowledged_kept=1, disordered_users=0, restart_seconds=0.5)
        for n in range(3)
    ]
    results = KillResults(rounds=rounds, events_per_second=10.0)
    assert results.verdict == "3 kills, 15 events acknowledged, 3 lost, 0 histories out of order"
    assert results.as_dict()["lost"] == 3
