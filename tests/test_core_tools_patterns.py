from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.core.tools.patterns import whole

PATTERNS = [
    r"^[A-Z]{2}-\d{3}$",
    r"^(on|off)$",
    r"a|b",
    r"\d\.\d",
    r"^\w+\s?\w*",
    r"[^a-f\-]x$",
    r"^(?:a|b.){1,2}$",
    r"[\d\w\].-]+",
    r"^a/b\^$",
    r"^=]!$",
    r"^[ -~]{2}$",
    r"[!-\-x]{3}",
    r"^[^ -9]+$",
    "[-b]",
    "",
    "^$",
]


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text("aAbfx019-./^ _]=!é", max_size=6) | st.sampled_from(["AB-123", "on", "off", "a/b^", "=]!", "1.5"]))
def test_matches_the_whole_of_texts_in_which_the_pattern_is_found(pattern: str, text: str) -> None:
    found = re.search(pattern, text) is not None
    if text.isascii():
        assert bool(re.fullmatch(whole(pattern), text)) is found
    else:  # \\w is narrower here than in Python
        assert found or not re.fullmatch(whole(pattern), text)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(", "no regular expression"),
        ("(?=a)b", "can't be enforced"),
        ("(?P<n>a)", "can't be enforced"),
        ("(?i:a)", "can't be enforced"),
        ("a|(?#)", "can't be enforced"),
        ("a*?", "can't be enforced"),
        ("a+?b", "can't be enforced"),
        (r"(a)\1", "can't be enforced"),
        (r"\bword", "can't be enforced"),
        (r"\D", "can't be enforced"),
        (r"[^\d]", "can't be enforced"),
        (r"[\n]", "can't be enforced"),
        ("a^b", "end of the pattern"),
        ("(a$)", "end of the pattern"),
        ("^a|b$", "put the alternatives into a group"),
        ("a{", "different things"),
        ("a}", "different things"),
        (r"a\|b", "use enum"),
        ("a\tb", "use enum"),
        ("[\x00-\x1f]", "use enum"),
        (r"[a-\d]", "no regular expression"),
        ("[]a]", "escape the bracket"),
        ("[^]a]", "escape the bracket"),
    ],
)
def test_what_dialects_understand_differently_is_refused(pattern: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        whole(pattern)


def test_a_slash_and_a_quote_can_stand_in_a_grammar() -> None:
    assert whole('^/"$') == r"([\x2F-\x2F][\x22-\x22])"
