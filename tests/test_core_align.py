"""Alignment of words: as few differences as there can be, and positions that really are of equal words."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamd.core.align import align, common_prefix

TEXTS = st.lists(st.sampled_from("abc"), max_size=8)


def distance(left: list[str], right: list[str]) -> int:
    """Levenshtein's, by its definition."""
    if not left or not right:
        return len(left) + len(right)
    if left[0] == right[0]:
        return distance(left[1:], right[1:])
    return 1 + min(distance(left[1:], right), distance(left, right[1:]), distance(left[1:], right[1:]))


@given(TEXTS, TEXTS)
def test_errors_are_the_edit_distance(left: list[str], right: list[str]) -> None:
    assert align(left, right).errors == distance(left, right)


@given(TEXTS, TEXTS)
def test_pairs_are_in_order_and_say_what_they_are(left: list[str], right: list[str]) -> None:
    found = align(left, right)
    pairs = sorted((*found.same, *found.substituted))
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs))
    assert all(left[i] == right[j] for i, j in found.same)
    assert all(left[i] != right[j] for i, j in found.substituted)
    assert found.deleted == len(left) - len(pairs)
    assert found.inserted == len(right) - len(pairs)


@given(TEXTS, TEXTS)
def test_an_unfinished_text_costs_what_its_best_beginning_costs(left: list[str], right: list[str]) -> None:
    best = min(distance(left[:end], right) for end in range(len(left) + 1))
    assert align(left, right, unfinished=True).errors == best


@given(TEXTS, TEXTS)
def test_common_prefix_is_the_longest(left: list[str], right: list[str]) -> None:
    length = common_prefix(left, right)
    assert left[:length] == right[:length]
    assert left[length : length + 1] != right[length : length + 1] or length == min(len(left), len(right))


def test_an_unfinished_text_is_at_the_beginning() -> None:
    """Words that happen to be said again later are not taken for later ones."""
    said = ["the", "cat", "and", "the", "dog", "and", "the", "bird"]
    assert [i for i, _ in align(said, ["the"], unfinished=True).same] == [0]
    assert [i for i, _ in align(said, ["the", "cap", "and", "the"], unfinished=True).same] == [0, 2, 3]
