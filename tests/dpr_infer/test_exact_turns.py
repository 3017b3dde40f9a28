# Turns that name tags and roles: what they say, that later turns go on from them, and what is refused.

from __future__ import annotations

import pytest

from dpr_infer import QueryError, QueryTypeError


def stands(recommender, *turns) -> dict[str, str]:
    """What is asked for and refused, by tag."""
    return {w.tag: "asked" if w.asked >= 0.5 else "refused" for w in recommender.wishes(turns)}


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        ([{"Comedy": "ask", "War": "refuse"}], {"Comedy": "asked", "War": "refused"}),
        (["comedy", {"Comedy": "refuse"}], {"Comedy": "refused"}),
        (["comedy, no war", {"War": "release"}], {"Comedy": "asked"}),
        (["comedy", {"Comedy": "release"}], {}),
        ([{"Comedy": "release"}, "comedy"], {"Comedy": "asked"}),
        ([{"Comedy": "ask"}, "no comedy, drama"], {"Comedy": "refused", "Drama": "asked"}),
        ([{"Comedy": "ask"}, {"Drama": "ask"}, {"Comedy": "release"}], {"Drama": "asked"}),
        ([{"Comedy": "ask"}, "start over, no war"], {"War": "refused"}),
        ([{"Comedy": "ask"}, {}], {"Comedy": "asked"}),
    ],
)
def test_what_stands(recommender, history, turns, expected):
    assert stands(recommender, *turns) == expected
    assert recommender.query(history, turns).wishes == recommender.wishes(turns)


def test_wishes_have_their_full_strength_and_no_neighbours(recommender):
    (wish,) = recommender.wishes({"War": "refuse"})
    assert (wish.tag, wish.asked, wish.refused) == ("War", 0.0, 1.0)


def test_one_mapping_is_a_prompt_for_one_and_for_all(recommender, history):
    turn = {"Comedy": "ask"}
    one = recommender.query(history, turn)
    for other in (
        recommender.query(history, [turn]),
        recommender.query_batch([history], turn)[0],
        recommender.query_batch([history], [turn])[0],
    ):
        assert one.items == other.items
        assert one.scores.tobytes() == other.scores.tobytes()
    plain = recommender.query(history)
    assert plain.items != one.items


@pytest.mark.parametrize(
    "turns", [{"War": "release"}, [{"War": "release"}], [{}], {}, [{}, {"War": "release"}]]
)
def test_releasing_alone_is_no_prompt(recommender, history, turns):
    plain, answer = recommender.query(history), recommender.query(history, turns)
    assert plain.items == answer.items
    assert plain.scores.tobytes() == answer.scores.tobytes()
    assert answer.wishes == ()


def test_a_release_leaves_a_prompt_that_wishes_for_no_tag_as_it_is(recommender, history):
    alone = recommender.query(history, "please")
    for turns in (["please", {"War": "release"}], [{"War": "release"}, "please"]):
        assert recommender.query(history, turns).scores.tobytes() == alone.scores.tobytes()


def test_strict_obeys_an_exact_refusal(recommender, history):
    answer = recommender.query(history, {"War": "refuse"}, 40, steer="strict")
    assert answer.items
    assert not any("War" in tags for tags in answer.tags)


def test_the_second_time_it_is_cached(recommender, history):
    turn = {"Drama": "ask", "War": "refuse"}
    recommender.query(history, turn)
    assert recommender.query(history, turn).prompt_cached
    assert recommender.query(history, "Drama, no War").prompt_cached


def test_a_mapping_changed_by_the_caller_later_changes_nothing(recommender, history):
    turn = {"Comedy": "ask"}
    turns = [turn]
    before = recommender.query(history, turns).items
    assert recommender.query(history, turns).items == before
    turn["Comedy"] = "refuse"
    assert recommender.wishes(turns)[0].refused == 1


@pytest.mark.parametrize(
    ("prompt", "error", "message"),
    [
        ({"Polka": "ask"}, QueryError, "'Polka' is none"),
        ({"comedy": "ask"}, QueryError, "spelt as they are; 'comedy'"),
        (
            {"Comedy": "want"},
            QueryError,
            r"""prompt\['Comedy'\] must be "ask", "refuse" or "release"; got 'want'""",
        ),
        ({"Comedy": None}, QueryError, "got None"),
        ({"Comedy": ["ask"]}, QueryError, "got"),
        ({3: "ask"}, QueryTypeError, "must name tags by str; got 3"),
        (["comedy", {"Comedy": "want"}], QueryError, r"prompt\[1\]\['Comedy'\]"),
        (["comedy", 3], QueryTypeError, r"prompt\[1\] must be a str or a mapping"),
        ({"Comedy"}, QueryTypeError, "got set"),
    ],
)
def test_what_is_refused(recommender, history, prompt, error, message):
    with pytest.raises(error, match=message):
        recommender.query(history, prompt)
