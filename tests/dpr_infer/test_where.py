# Tag expressions: the grammar, the errors, and that a filter passes just the items for which the expression
# is true.

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tiny_bundle
from dpr_infer import QueryTypeError, WhereError
from dpr_infer.tag_clauses import compile_expression
from dpr_infer.where import AllOf, AnyOf, Not, Tag, parse_where

TAGS = tiny_bundle.tag_names(6)  # Action, Comedy, Drama, War, Sci-Fi, Children's
A, B, C = Tag(0), Tag(1), Tag(2)


def truth(tree, tags) -> bool:
    """The definition: is the expression true of an item with these tag numbers?"""
    if isinstance(tree, Tag):
        return tree.number in tags
    if isinstance(tree, Not):
        return not truth(tree.operand, tags)
    values = [truth(operand, tags) for operand in tree.operands]
    return all(values) if isinstance(tree, AllOf) else any(values)


def passes(clauses, tags) -> bool:
    """What the kernel promises to test, for a bitset of one word."""
    word = sum(1 << tag for tag in tags)
    required, banned = int(clauses.all[0]), int(clauses.none[0])
    pairs = zip(clauses.clause_with[:, 0].tolist(), clauses.clause_without[:, 0].tolist(), strict=True)
    return (
        word & required == required
        and not word & banned
        and all(word & having or ~word & lacking for having, lacking in pairs)
    )


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("action", A),
        ("  ACTION ", A),
        ("Sci-Fi", Tag(4)),
        ("children's", Tag(5)),
        ('"Children\'s"', Tag(5)),
        ("!action", Not(A)),
        ("not action", Not(A)),
        ("NOT(action)", Not(A)),
        ("!!action", Not(Not(A))),
        ("action & comedy", AllOf((A, B))),
        ("action and comedy AND drama", AllOf((A, B, C))),
        ("action|comedy", AnyOf((A, B))),
        ("action or comedy & drama", AnyOf((A, AllOf((B, C))))),
        ("(action or comedy) & !drama", AllOf((AnyOf((A, B)), Not(C)))),
        ("!action & comedy", AllOf((Not(A), B))),
        ("", None),
        (" \n", None),
    ],
)
def test_grammar(text, tree):
    assert parse_where(text, TAGS) == tree


def test_quotes_and_escapes():
    tags = ["Film Noir", "and", 'the "best"', "back\\slash", "x(y)"]
    text = r'"film noir" & "and" & "the \"best\"" & "back\\slash" & "x(y)"'
    assert parse_where(text, tags) == AllOf(tuple(Tag(number) for number in range(5)))


def test_exact_spelling_wins_over_case():
    tags = ["war", "War", "Straße"]
    assert parse_where("War", tags) == Tag(1)
    assert parse_where("STRASSE", tags) == Tag(2)
    with pytest.raises(WhereError, match="'war', 'War'"):
        parse_where("WAR", tags)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dramo", "'dramo' is none .there is 'Drama'"),
        ("zzzzzz", "'zzzzzz' is none .there is 'Action', 'Comedy'.*, \\.\\.\\."),
        ("action comedy", "character 7 must be & .*quotes; got 'comedy'"),
        ("action &", "character 8 must be a tag's name.*got 'the end'"),
        ("& action", "character 0 must be a tag's name"),
        ("(action", "character 7 must be a closing parenthesis"),
        ("action)", "character 6 must be &"),
        ("()", "character 1 must be a tag's name"),
        ("!", "character 1"),
        ('action & "war', "quote at character 9 must be closed"),
        ('""', "'' is none"),
        ("and", "character 0"),
        ("(" * 100 + "action" + ")" * 100, "at most 64 deep"),
        ("!" * 100 + "action", "at most 64 deep"),
        (" | ".join(["action"] * 257), "at most 256 names"),
    ],
)
def test_errors_say_where_and_what(text, message):
    with pytest.raises(WhereError, match=message):
        parse_where(text, TAGS)


def test_only_text_is_parsed():
    with pytest.raises(QueryTypeError, match="got int"):
        parse_where(3, TAGS)  # type: ignore[arg-type]


def test_too_many_clauses_are_refused_quickly():
    tags = [f"t{g}" for g in range(40)]
    pairs = " | ".join(f"(t{2 * i} & t{2 * i + 1})" for i in range(20))  # 2 ** 20 clauses
    with pytest.raises(WhereError, match="at most 256 clauses"):
        compile_expression(parse_where(pairs, tags), 1)
    eight = " | ".join(f"(t{2 * i} & t{2 * i + 1})" for i in range(8))
    assert len(compile_expression(parse_where(eight, tags), 1).clause_with) == 256


def test_simple_parts_become_masks_and_redundant_ones_vanish():
    clauses = compile_expression(
        parse_where("action & !war & (action | drama) & (drama | !drama) & (comedy | !drama)", TAGS), 1
    )
    assert (clauses.all.tolist(), clauses.none.tolist()) == ([1], [8])
    assert (clauses.clause_with.tolist(), clauses.clause_without.tolist()) == ([[2]], [[4]])


def test_words_past_the_first():
    clauses = compile_expression(AnyOf((Tag(3), Not(Tag(130)))), 3)
    assert clauses.clause_with.tolist() == [[8, 0, 0]]
    assert clauses.clause_without.tolist() == [[0, 0, 4]]


def trees():
    return st.recursive(
        st.integers(0, 5).map(Tag),
        lambda inner: st.one_of(
            inner.map(Not),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: AllOf(tuple(parts))),
            st.lists(inner, min_size=2, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
        ),
        max_leaves=10,
    )


def render(tree, draw) -> str:
    """Write a tree in one of the many ways that the grammar has for it."""
    if isinstance(tree, Tag):
        name = draw(st.sampled_from([TAGS[tree.number], TAGS[tree.number].upper()]))
        return draw(st.sampled_from([name, f'"{name}"']))
    if isinstance(tree, Not):
        return draw(st.sampled_from(["!", "not ", "NOT\t"])) + f"({render(tree.operand, draw)})"
    signs = ["&", " and "] if isinstance(tree, AllOf) else ["|", " or "]
    return "".join(
        ("" if i == 0 else draw(st.sampled_from(signs))) + f"({render(operand, draw)})"
        for i, operand in enumerate(tree.operands)
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), tree=trees())
def test_filters_pass_just_what_is_true(recommender, data, tree):
    text = render(tree, data.draw)
    parsed = parse_where(text, TAGS)
    clauses = compile_expression(parsed, 1)
    subsets = [{g for g in range(6) if word >> g & 1} for word in range(64)]
    for tags in subsets:
        assert truth(parsed, tags) == truth(tree, tags) == passes(clauses, tags)
    number = {tag: g for g, tag in enumerate(TAGS)}
    expected = {
        item_id
        for item_id, tags in zip(recommender.items.ids, recommender.items.tags, strict=True)
        if truth(tree, {number[tag] for tag in tags})
    }
    assert set(recommender.query([], k=40, where=text).items) == expected


def test_unsatisfiable_is_legal_and_blank_filters_nothing(recommender):
    assert recommender.query([], where="war & !war").items == []
    assert recommender.query([], where=" ").items == recommender.query([]).items
    assert recommender.query([], where="war | !war").items == recommender.query([]).items


def test_where_is_checked_before_the_engines_run(fresh, monkeypatch):
    monkeypatch.setattr(fresh._pipeline._encoder, "encode", None)
    for history in ([], ["i100"]):
        with pytest.raises(WhereError, match="nope"):
            fresh.query(history, "comedy", where="nope")


def test_where_and_strict_together(recommender):
    answer = recommender.query([], "no comedy", 40, where="war | comedy", steer="strict")
    assert answer.items
    assert all("War" in tags and "Comedy" not in tags for tags in answer.tags)
