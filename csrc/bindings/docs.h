// Docstrings of dpr_infer._core, apart from the code that binds it.
#pragma once

namespace dpr::docs {

inline constexpr char kModule[] =
    R"(Exact scoring of a catalogue with promptable experts: gating, filters, top-k.

Every score is canonical float32: the same bits on each SIMD level, batch size and number of threads, with an
index or without. Arrays are
checked, never converted or copied. The GIL is released while computing, and calls from several threads are
independent.)";

inline constexpr char kSimdLevel[] = R"(Tell the SIMD level that a new catalogue would use.

Returns
-------
str
    The level that the environment variable ``DPR_SIMD_LEVEL`` names, else the highest supported one but
    ``"amx"``, which must be asked for.

Raises
------
ValueError
    When ``DPR_SIMD_LEVEL`` is set to a level that is unknown or that this machine cannot run.)";

inline constexpr char kSupportedSimdLevels[] = R"(Tell the SIMD levels that this machine can run.

Returns
-------
list of str
    Lowest first, from ``"scalar"``, ``"avx2"``, ``"avx512vnni"``, ``"amx"`` on x86-64, ``"scalar"``, ``"neon"`` on
    AArch64.)";

inline constexpr char kScoreRule[] = R"(What the experts of a bundle do to a score: roles, biases, and phi.

An expert with role ``"toward"`` moves the query; one with role ``"away"`` lowers the score of an item v by
``strength * gate * phi(<z, v> + bias)``. Phi is ``max(x, 0)`` or ``ln(1 + exp(gain x)) / gain``.
Immutable.)";

inline constexpr char kScoreRuleInit[] = R"(Check and keep a rule.

Parameters
----------
roles : sequence of str
    ``"toward"`` or ``"away"`` for each of E experts, in the order of the experts' axis.
biases : sequence of float
    b of each expert, rounded to float32; finite, and 0 for ``"toward"``.
phi : str
    ``"relu"`` or ``"softplus"``.
gain : float, optional
    Steepness of softplus, rounded to float32; finite and at least 1e-30. Relu does not read it.

Raises
------
ValueError
    When a value is not as above, or roles and biases differ in length.)";

inline constexpr char kNExperts[] = "int: E, the number of experts.";
inline constexpr char kRoles[] = "list of str: the role of each expert.";
inline constexpr char kBiases[] = "list of float: the bias of each expert, as rounded to float32.";
inline constexpr char kPhi[] = R"(str: ``"relu"`` or ``"softplus"``.)";
inline constexpr char kGain[] = "float: steepness of softplus, as rounded to float32.";

inline constexpr char kTagFilter[] =
    R"(Conditions on the tags of an item, for each query of a batch. Immutable.

An item with tag bits t passes query b when ``t & all[b] == all[b]``, ``t & none[b] == 0``, and each clause c
of b has ``t & clause_with[c] != 0`` or ``~t & clause_without[c] != 0``. A clause with no bit at all passes
nothing.)";

inline constexpr char kTagFilterInit[] = R"(Check and copy the conditions of B queries with W tag words each.

Parameters
----------
all : numpy.ndarray of uint64, shape (B, W)
    Tags that an item must have. W >= 1.
none : numpy.ndarray of uint64, shape (B, W)
    Tags that an item must not have.
clause_offsets : numpy.ndarray of int64, shape (B + 1,)
    Query b has the clauses ``clause_offsets[b]`` up to ``clause_offsets[b + 1]``; from 0 to C, never falling.
clause_with : numpy.ndarray of uint64, shape (C, W)
    Tags of which having one meets the clause.
clause_without : numpy.ndarray of uint64, shape (C, W)
    Tags of which lacking one meets the clause.

Raises
------
TypeError
    When an argument is not an array of its dtype.
ValueError
    When a shape, a memory order or an offset is not as above.)";

inline constexpr char kFilterNQueries[] = "int: B, the number of queries that it was made for.";
inline constexpr char kFilterNWords[] = "int: W, the number of 64-bit words of a tag set.";

inline constexpr char kBuildIndex[] =
    R"(Quantise item vectors and lay them out in blocks that a search can skip.

The same bits on every machine and for any number of threads. docs/kernel.md tells what the arrays are for.

Parameters
----------
vectors : numpy.ndarray of float32, shape (N, D)
    One item a row, C order, all finite; N and D at least 1, D at most 32768.
parts : list of int
    Widths of the one or two parts that are quantised and bounded apart; they sum to D.
threads : int, optional
    Threads to use, at least 1.
simd_level : str, optional
    One of :func:`supported_simd_levels`. Default: what :func:`simd_level` tells.

Returns
-------
dict of str to numpy.ndarray
    ``codes`` uint8 (n_blocks, n_quads, 64, 4), ``rows`` uint32 (n_blocks, 64), ``cluster`` uint32
    (n_blocks,), ``bounds`` float32 (P, 7, n_blocks), ``centres`` float32 (n_clusters, D).

Raises
------
TypeError
    When `vectors` is not an array of float32.
ValueError
    When a shape or a value is not as above.)";

inline constexpr char kSearchCounters[] =
    R"(Sums of the work that searches did; given to :meth:`Catalogue.search` as `counters`.)";
inline constexpr char kNPairs[] = "int: (block, query) pairs that there were.";
inline constexpr char kNPairsScanned[] =
    "int: of them, pairs whose codes were read; warming up counts as well.";
inline constexpr char kNRescored[] = "int: canonical dot products computed between query and item.";
inline constexpr char kNPieces[] =
    "int: pieces that queries were cut into; each is taken by one thread, or by the only one.";

inline constexpr char kCatalogue[] = R"(Item vectors and tags, ready to be searched and changed.

Looks at the arrays it is given, read-only and memory-mapped ones included, keeps them alive and never copies
them. They must not be written to afterwards.

An item's row is its number in order of arrival: it never changes and is never given to another item.)";

inline constexpr char kCatalogueInit[] = R"(Check the arrays and choose the kernels.

Parameters
----------
vectors : numpy.ndarray of float32, shape (N, D)
    One item a row, C order, all finite; N and D at least 1.
tag_bits : numpy.ndarray of uint64, shape (N, W), optional
    Tag sets, C order: bit g % 64 of word g // 64 is set when the item has tag g. Needed by tag filters alone.
index : dict of str to numpy.ndarray, optional
    What :func:`build_index` returned for the same vectors. Without it every search reads all vectors.
parts : list of int, optional
    The widths that the index was built with; all of D as one part by default.
row_ids : numpy.ndarray of int64, shape (N,), optional
    The items' rows, rising, where some have been removed before. Default: 0 to N - 1.
n_rows : int, optional
    Rows given out so far. Default: one more than the last row.
simd_level : str, optional
    One of :func:`supported_simd_levels`. Default: what :func:`simd_level` tells.

Raises
------
TypeError
    When an argument is not an array of its dtype.
ValueError
    When a shape or memory order is not as above, a vector is not finite (row and column are named), the
    index is not one of these many vectors, or the SIMD level is unknown or not supported. Whether the
    index's bounds hold is not checked here but by :meth:`check_index`.)";

inline constexpr char kNItems[] =
    "int: the number of items that are not removed, switched-off ones included.";
inline constexpr char kNRows[] = "int: how many rows have been given out.";
inline constexpr char kNPending[] =
    "int: items added, and items removed, since the last compaction; what compaction would tidy up.";
inline constexpr char kParts[] = "list of int: widths of the parts of a vector.";
inline constexpr char kDim[] = "int: D, the length of an item vector.";
inline constexpr char kNTagWords[] = "int: W, the number of 64-bit words of a tag set; 0 without tags.";
inline constexpr char kCatalogueSimdLevel[] = "str: the SIMD level that this catalogue is searched with.";

inline constexpr char kSearch[] = R"(Find the k best items of each query, exactly.

The score of item v is ``<q, v>`` less the penalty of the away experts, with
``q = [user, 0] + strength * sum of gate * expert`` over the toward experts. An expert whose gate is 0 is left
out. Items are ordered by score descending, then row ascending. Where huge inputs overflow, a score that is
NaN ranks as -inf.

Parameters
----------
user : numpy.ndarray of float32, shape (B, dc)
    User vectors, dc <= D; they fill the first dc dimensions of the query and 0 the rest.
experts : numpy.ndarray of float32, shape (B, E, D)
    Expert vectors.
gates : numpy.ndarray of float32, shape (B, E)
    Expert weights, >= 0.
rule : ScoreRule
    The experts' roles and phi; its ``n_experts`` is E.
strength : numpy.ndarray of float32, shape (B,)
    How much all experts count, >= 0. With 0 the score is that of the user vector alone.
k : int
    How many items to return, from 1; it may exceed N. B * k is at most 2**28.
excluded_offsets : numpy.ndarray of int64, shape (B + 1,), optional
    Query b excludes ``excluded_rows[excluded_offsets[b]:excluded_offsets[b + 1]]``; from 0 to M, never
    falling. A single query does without: all rows are its own.
excluded_rows : numpy.ndarray of int64, shape (M,), optional
    Rows in [0, n_rows), in any order, repeats allowed. Given together with `excluded_offsets`.
allowed_offsets, allowed_rows : numpy.ndarray of int64, shapes (B + 1,) and (M,), optional
    In the same form, the only rows that each query may be given. Rows of removed items are simply not found.
tag_filter : TagFilter, optional
    Conditions for the same B queries, with the catalogue's number of tag words.
threads : int, optional
    Most threads to use, at least 1; one pool serves the whole process. The answer does not depend on it.
counters : SearchCounters, optional
    Takes up the work of this search. Not to be shared by searches that run at the same time.

Returns
-------
rows : numpy.ndarray of int64, shape (B, k)
    Item rows, best first. When fewer than k items are allowed, the rest is -1.
scores : numpy.ndarray of float32, shape (B, k)
    Their scores; the rest is -inf.

Raises
------
TypeError
    When an array argument is not an array of its dtype.
ValueError
    When a shape, a memory order or a value is not as above, an input is not finite, or a steered query or a
    score among the results overflows float32. The message names the query.)";

inline constexpr char kReferenceScores[] =
    R"(Compute every score in the plainest way, for tests and for doubters.

Scalar code without tiles, pruning, filters or heap; it defines what :meth:`search` must return. The whole (B,
n_rows) matrix is materialised: not for serving.

Parameters
----------
user, experts, gates, rule, strength
    As in :meth:`search`.

Returns
-------
numpy.ndarray of float32, shape (B, n_rows)
    Canonical scores, of switched-off items too; NaN for removed ones. Where huge inputs overflow, a score is
    infinite or NaN.

Raises
------
TypeError, ValueError
    As in :meth:`search`, except that a score may overflow.)";

inline constexpr char kAdd[] = R"(Add items; the next search finds them.

Parameters
----------
vectors : numpy.ndarray of float32, shape (n, D)
    All finite. Copied.
tag_bits : numpy.ndarray of uint64, shape (n, W), optional
    Needed exactly when the catalogue has tags.

Returns
-------
int
    Row of the first new item; the others follow.

Raises
------
TypeError, ValueError
    When an argument is not as above; nothing is added then.)";

inline constexpr char kRemove[] = R"(Remove items for ever; the next search does not find them.

Parameters
----------
rows : numpy.ndarray of int64, shape (n,)
    Each row once.

Raises
------
TypeError, ValueError
    When a row was never given out, was removed before, or is given twice; nothing is removed then.)";

inline constexpr char kSetAvailable[] = R"(Switch items off, or on again; the next search knows.

Parameters
----------
rows : numpy.ndarray of int64, shape (n,)
    Rows of items that are not removed; repeats allowed.
available : bool
    False: no search returns them.

Raises
------
TypeError, ValueError
    When a row was never given out or was removed; nothing changes then.)";

inline constexpr char kCompact[] = R"(Rebuild arrays and index from the items that are not removed.

Searches and changes go on meanwhile; what is added during it stays pending. Rows stay as they are.

Parameters
----------
threads : int, optional
    Threads to use, at least 1.)";

inline constexpr char kCheckIndex[] =
    R"(Recompute every bound of the index from vectors and codes. Reads everything.

Raises
------
ValueError
    When a bound does not hold; block and bound are named.)";

inline constexpr char kArrays[] = R"(Copy the arrays of a compacted catalogue.

Returns
-------
dict of str to numpy.ndarray
    ``vectors``, ``tag_bits`` (with tags), ``row_ids`` int64 (N,), ``available`` bool (N,), and with an index
    its arrays as :func:`build_index` names them.

Raises
------
ValueError
    When items are pending.)";

inline constexpr char kRowTable[] = R"(Rows of item ids, looked up many at once.

For histories: a dict looks at five places in memory for each id, one after the other, and after a graph has run most are no
longer in the caches.)";

inline constexpr char kRowTableInit[] = R"(Take the ids of rows 0 and up.

Parameters
----------
ids : list of str
    By row. The table keeps the list, which may grow; an id that is in the table must stay where it is.

Raises
------
TypeError
    When an id is not a str.)";

inline constexpr char kRowTableAdd[] = R"(Make ids known that were appended to the list.

Parameters
----------
first : int
    Their first row. An id that is known already has the later row from now on.

Raises
------
TypeError
    When an id is not a str; those before it are known then.)";

inline constexpr char kRowTableRemove[] = R"(Forget an id. Its string stays in the list.

Parameters
----------
id : str
    An id that is known.

Raises
------
KeyError
    When it is not.)";

inline constexpr char kRowTableFind[] = R"(Look up ids.

Parameters
----------
ids : list or tuple of str
    The ids.

Returns
-------
ndarray of int64, shape (n,), or None
    Their rows, in order; None when an id is unknown, or is not a plain str.

Raises
------
TypeError
    When `ids` is neither a list nor a tuple.)";

inline constexpr char kItemsAt[] = R"(Tell what the items of an answer are.

Parameters
----------
ids, titles : list of str
    By row.
tags : list of tuple of str
    By row.
rows : ndarray of int64, shape (k,)
    Rows; the first that is negative ends the answer.

Returns
-------
ids, titles : list of str, length n <= k
    Those of the rows, in order.
tags : list of list of str, length n
    Likewise; copies.

Raises
------
IndexError
    When a row is not of these lists.)";

inline constexpr char kHistoryTokens[] = R"(Make a backbone's tokens of histories.

Parameters
----------
histories : sequence of ndarray of int64, length B
    Rows of items, oldest first.
limit : int
    Most items that are read, the newest.

Returns
-------
ndarray of int64, shape (B, L)
    Row + 1, padded on the left with 0 to the longest of what is read, and to at least 1.)";

}  // namespace dpr::docs
