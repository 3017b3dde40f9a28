// Docstrings of dpr_infer._core, apart from the code that binds it.
#pragma once

namespace dpr::docs {

inline constexpr char kModule[] =
    R"(Exact scoring of a catalogue with promptable experts: gating, filters, top-k.

Every score is canonical float32: the same bits on each SIMD level, batch size and tile size. Arrays are
checked, never converted or copied. The GIL is released while computing, and calls from several threads are
independent.)";

inline constexpr char kSimdLevel[] = R"(Tell the SIMD level that a new catalogue would use.

Returns
-------
str
    The level that the environment variable ``DPR_SIMD_LEVEL`` names, else the highest supported one.

Raises
------
ValueError
    When ``DPR_SIMD_LEVEL`` is set to a level that is unknown or that this machine cannot run.)";

inline constexpr char kSupportedSimdLevels[] = R"(Tell the SIMD levels that this machine can run.

Returns
-------
list of str
    Lowest first, from ``"scalar"``, ``"avx2"``, ``"avx512"``.)";

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

inline constexpr char kCatalogue[] = R"(Item vectors and tags, ready to be searched.

Looks at the arrays it is given, read-only and memory-mapped ones included, keeps them alive and never copies
them. They must not be written to afterwards.)";

inline constexpr char kCatalogueInit[] = R"(Check the arrays and choose the kernels.

Parameters
----------
vectors : numpy.ndarray of float32, shape (N, D)
    One item a row, C order, all finite; N and D at least 1.
tag_bits : numpy.ndarray of uint64, shape (N, W), optional
    Tag sets, C order: bit g % 64 of word g // 64 is set when the item has tag g. Needed by tag filters alone.
simd_level : str, optional
    One of :func:`supported_simd_levels`. Default: what :func:`simd_level` tells.

Raises
------
TypeError
    When an argument is not an array of its dtype.
ValueError
    When a shape or memory order is not as above, a vector is not finite (row and column are named), or the
    SIMD level is unknown or not supported.)";

inline constexpr char kNItems[] = "int: N, the number of items.";
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
    falling.
excluded_rows : numpy.ndarray of int64, shape (M,), optional
    Rows in [0, N), in any order, repeats allowed. Given together with `excluded_offsets`.
tag_filter : TagFilter, optional
    Conditions for the same B queries, with the catalogue's number of tag words.

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
N) matrix is materialised: not for serving.

Parameters
----------
user, experts, gates, rule, strength
    As in :meth:`search`.

Returns
-------
numpy.ndarray of float32, shape (B, N)
    Canonical scores. Where huge inputs overflow, a score is infinite or NaN.

Raises
------
TypeError, ValueError
    As in :meth:`search`, except that a score may overflow.)";

}  // namespace dpr::docs
