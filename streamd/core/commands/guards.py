"""What was said is no order: negations, reports, questions, conditions, and words that take an order back.

An independent look at the text. The grammar refuses most of these because a word is left over, but a recogniser drops
words, a template may be wide, and a projection onto the grammar forgives: then this still objects. Words that the
matched sentence has itself ("don't disturb", "can I have a coffee?") are its author's intent and no objection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from streamd.core.commands.reasons import Reason
from streamd.core.commands.spoken import words


class Kind(StrEnum):
    """Why a text is no order."""

    RETRACTED = "retracted"
    NEGATED = "negated"
    REPORTED = "reported"
    CONDITIONAL = "conditional"
    QUESTION = "question"


@dataclass(frozen=True, slots=True)
class Objection:
    """The word or words that make a text no order."""

    kind: Kind
    words: str

    @property
    def reason(self) -> Reason:
        return Reason("{}: “{}”", Reason(self.kind), self.words)

    def __str__(self) -> str:
        return self.reason


# Phrases, separated by commas. Of questions: how they begin.
_PHRASES = {
    "en": {
        Kind.RETRACTED: """no, nope, nah, wait, hold on, hang on, stop, cancel, abort, never mind, nevermind, forget,
            scratch that, strike that, take that back, undo, ignore, disregard, on second thought, on second thoughts,
            actually, oops, whoops, sorry, mistake, wrong, just kidding, belay, kidding, joking""",
        Kind.NEGATED: """not, never, nobody, none, neither, nor, without, instead of, rather than, avoid, refrain,
            dont, doesnt, didnt, wont, cant, cannot, shouldnt, mustnt, nothing, nowhere, hardly, except,
            under no circumstances, no way, forbidden, prohibited, refuse, refused""",
        Kind.REPORTED: """said, says, saying, say, told, tells, tell, telling, asked, asks, asking, heard, wrote,
            writes, written, claims, claimed, according to, suggested, suggests, mentioned, thinks, thought, wanted,
            wants, was going to, were going to, used to, reads, called, quote, ordered, reported, the word, the words,
            the phrase, the command, the sentence""",
        Kind.CONDITIONAL: """if, unless, when, whenever, until, till, before, after, once, as soon as, as long as,
            in case, suppose, supposing, assuming, provided, would have, could have, should have, might, maybe,
            perhaps, imagine, pretend, let's say, later, tomorrow, yesterday, tonight, next time, last time, someday,
            for example, would be, would, you should, we should, i should, should""",
        Kind.QUESTION: """did, does, do you, do we, do they, do i, is, are, was, were, has, have you, have we,
            have they, had, shall, what, when, where, why, who, how, which, am, isn't it""",
    },
    "de": {
        Kind.RETRACTED: """nein, nee, nö, warte, warten, wart, moment, stop, stopp, halt, abbrechen, abbruch,
            vergiss, vergessen, lass, lassen, quatsch, falsch, irrtum, entschuldigung, sorry, ignorieren, ignoriere,
            streich, streichen, zurücknehmen, rückgängig, egal, doch nicht, ups, versehen, war ein scherz""",
        Kind.NEGATED: """nicht, nie, niemals, nimmer, kein, keine, keinen, keinem, keiner, keines, keinesfalls, ohne,
            weder, noch nicht, nichts, niemand, statt, anstatt, vermeide, vermeiden, unterlass, außer, verboten,
            untersagt, auf keinen fall""",
        Kind.REPORTED: """sagte, sagt, sagten, sagen, sage, gesagt, meinte, meint, gemeint, fragte, fragt, gefragt, bat,
            laut, angeblich, erzählte, erzählt, hörte, gehört, schrieb, geschrieben, behauptet, behauptete, wollte,
            wollten, will, soll, sollen, sollst, vorgeschlagen, befahl, befohlen, steht, der befehl, das wort, der satz,
            dachte, denkt""",
        Kind.CONDITIONAL: """wenn, falls, ob, sobald, solange, bevor, nachdem, ehe, bis, angenommen, würde, würden,
            würdest, hätte, hätten, könnte, könnten, sollte, sollten, solltest, vielleicht, eventuell, später, morgen,
            gestern, nächstes mal, letztes mal, zum beispiel, gesetzt den fall, stell dir vor, wäre, sofern,
            unter umständen, demnächst, dürfte""",
        Kind.QUESTION: """hast, hat, habe, haben, wurde, wurden, ist, sind, war, waren, was, wann, wo, warum, wieso,
            weshalb, wer, wie, welche, welcher, welches, darf, dürfen, wird, werden, bist, kann, können wir""",
    },
}  # fmt: skip
_POLITE = {"en": "would like", "de": "hätte gern"}  # holds a word of those above, and is no condition
LANGUAGES = tuple(_PHRASES)  # in which this objects
_NOT = "n't"
_BEHIND = " !.…\"'”»)"  # what may stand behind the mark of a question
_OPENINGS = frozenset({"can", "could", "may", "would", "will", "kann", "kannst", "können", "könnte", "darf", "dürfte"})


def objection(heard: str, language: str, said: str = "") -> Objection | None:
    """Why `heard` is no order, or None. `said` are the words of the sentence that it is taken for, if any.

    Questions are known by their mark or their first word. In other LANGUAGES nothing is known.
    """
    text, own = _plain(heard, language), _plain(said, language)
    for kind, phrases in _phrases(language).items():
        for phrase in phrases:
            if kind is Kind.QUESTION:
                if text[: len(phrase)] == phrase and own[: len(phrase)] != phrase:
                    return Objection(kind, " ".join(phrase))
            elif _count(phrase, text) > _count(phrase, own):
                return Objection(kind, " ".join(phrase))
    if spoilt := next((word for word in text if word.endswith(_NOT) and word not in own), None):
        return Objection(Kind.NEGATED, spoilt)
    if language in LANGUAGES and heard.rstrip(_BEHIND).endswith("?") and not (own and own[0] in _OPENINGS):
        return Objection(Kind.QUESTION, "?")
    return None


def _plain(text: str, language: str) -> tuple[str, ...]:
    said = " ".join(words(text, language))
    return tuple(said.replace(_POLITE.get(language, "\n"), "").split())


def _count(phrase: tuple[str, ...], text: Sequence[str]) -> int:
    return sum(text[at : at + len(phrase)] == phrase for at in range(len(text)))


@cache
def _phrases(language: str) -> dict[Kind, list[tuple[str, ...]]]:
    return {
        kind: [words(phrase, language) for phrase in text.split(",")]
        for kind, text in _PHRASES.get(language, {}).items()
    }
