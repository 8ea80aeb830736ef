"""The languages that Whisper knows, and what a session believes of the one that is spoken.

What is heard of an utterance's language is weighed against what was spoken before: the forward algorithm of a hidden
Markov model with one state a language. Speakers seldom change their language, and a second of sound tells little, so
it takes a long utterance, or several short ones, to change a session's mind.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

_TAGS = """
af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl gu ha haw he hi hr ht hu hy id
is it ja jw ka kk km kn ko la lb ln lo lt lv mg mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd
si sk sl sn so sq sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo yue zh
"""

TAGS = frozenset(_TAGS.split())
"""Whisper's own tags: ISO 639-1, but `jw` (Javanese), `haw` (Hawaiian) and `yue` (Cantonese, in large-v3 only)."""

STAY = 0.95  # chance that the next utterance is in the language of this one
FLOOR = 1e-3  # nothing that is heard is surer than this
WHOLE_S = 4.0  # sound that tells as much as the model says; less tells less, more tells more …
MOST = 2.0  # … up to so many times as much

Belief = Mapping[str, float]
"""Tag → probability; they add up to one. An empty one knows nothing."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a model makes of the language of one utterance."""

    probabilities: Mapping[str, float] = field(default_factory=dict)  # by tag; what is left out is unlikely
    heard_s: float = 0.0  # seconds of sound that it has heard


def primary(tag: str) -> str:
    """The language of a tag (RFC 5646), whatever its country: de of DE, de-AT and de_DE."""
    return re.split("[-_]", tag, maxsplit=1)[0].lower()


def expecting(candidates: Collection[str] = (), first: str | None = None) -> Belief:
    """The belief before the first utterance: any of `candidates` (none: of all), most of all `first`."""
    tags = sorted(candidates or TAGS)
    even = dict.fromkeys(tags, 1 / len(tags))
    return onwards({tag: float(tag == first) for tag in tags}) if first in even else even


def weigh(belief: Belief, evidence: Evidence) -> Belief:
    """`belief` after `evidence`. A tag that an existing belief does not hold is not considered."""
    if not evidence.probabilities:
        return belief
    weight = min(MOST, evidence.heard_s / WHOLE_S)
    before = belief or dict.fromkeys(evidence.probabilities, 1.0)
    heard = evidence.probabilities
    return _normalised({tag: share * max(heard.get(tag, 0.0), FLOOR) ** weight for tag, share in before.items()})


def onwards(belief: Belief) -> Belief:
    """What is to be expected of the next utterance: the same, or any other language."""
    change = (1 - STAY) / max(1, len(belief) - 1)
    return _normalised({tag: STAY * share + change * (1 - share) for tag, share in belief.items()})


def likeliest(belief: Belief) -> str:
    """The tag that is believed most; of equals the first in the alphabet. Raises ValueError if there are none."""
    return min(belief, key=lambda tag: (-belief[tag], tag))


def _normalised(shares: Mapping[str, float]) -> Belief:
    total = sum(shares.values())
    return {tag: share / total for tag, share in shares.items()}
