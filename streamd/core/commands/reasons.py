"""Why something happens or not, in words: said in English, and told to readers in the language of the order.

A reason is English text that still knows what it was made of, as gettext's messages do. Other languages than those
here are told in English, as are words of machines and of libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import reduce
from typing import Self


class Reason(str):
    """A template with values for each `{}`, which may be reasons themselves. As a text it is English.

    Numbers are given as numbers: what is text already keeps its decimal point in every language.
    """

    __slots__ = ("template", "values")
    template: str
    values: tuple[object, ...]

    def __new__(cls, template: str, *values: object) -> Self:
        reason = super().__new__(cls, template.format(*values))
        reason.template, reason.values = template, values
        return reason

    def __getnewargs__(self) -> tuple[str, ...]:  # type: ignore[override]  # values of any type make a copy
        return (self.template, *self.values)  # type: ignore[arg-type]


def listed(items: Iterable[object]) -> str:
    """All of them."""
    return reduce(lambda one, other: Reason("{}, {}", one, other), map(_reason, items))


def whole(number: float) -> float:
    """The number, and without a decimal point where it needs none."""
    return int(number) if float(number).is_integer() else number


def either(items: Iterable[object]) -> str:
    """One of them, in words."""
    return reduce(lambda one, other: Reason("{} or {}", one, other), map(_reason, items))


def _reason(item: object) -> str:
    return item if isinstance(item, str) else Reason("{}", item)


def in_language(reason: str, language: str) -> str:
    """The reason for readers of a language. What is no Reason stays as it is."""
    return str(_told(reason, _TEXTS.get(language)))


def _told(value: object, texts: Mapping[str, str] | None) -> object:
    if texts is None:
        return value
    match value:
        case Reason():
            template = texts.get(value.template, value.template)
            return template.format(*(_told(part, texts) for part in value.values))
        case float() | Decimal():
            return str(value).replace(".", ",")
        case _:
            return value


# Each line in English, and below it what it is in German.
_GERMAN = """
{} or {}
    {} oder {}
{}: “{}”
    {}: „{}“
{}; nearest: “{}”
    {}; am nächsten kommt: „{}“
no order, {}
    kein Befehl, {}
retracted
    zurückgenommen
negated
    verneint
reported
    nur berichtet
conditional
    bedingt
question
    eine Frage
no command says this
    so lautet kein Befehl
there are no commands in the language {}
    in der Sprache {} gibt es keine Befehle
“{}” is none of the values of {}: {}
    „{}“ ist keiner der Werte von {}: {}
“{}” is no number for {}
    „{}“ ist keine Zahl für {}
this could mean {}
    das könnte heißen: {}
this could be {}
    das könnte sein: {}
{} needs {}
    bei {} fehlt {}
no command sounds like this
    so klingt kein Befehl
more was said than “{}”
    es wurde mehr gesagt als „{}“
something else was said
    es wurde etwas anderes gesagt
it was not understood
    es wurde nicht verstanden
too long for a command
    zu lang für einen Befehl
a second reading heard {}
    ein zweites Modell hat etwas anderes gehört: {}
no command
    keinen Befehl
{} is greater than the maximum of {}
    {} ist mehr als höchstens {}
{} is less than the minimum of {}
    {} ist weniger als mindestens {}
{} is greater than or equal to the maximum of {}
    {} ist nicht weniger als {}
{} is less than or equal to the minimum of {}
    {} ist nicht mehr als {}
{} is not a multiple of {}
    {} ist kein Vielfaches von {}
{} is not one of {}
    {} ist keines von {}
{} is never done by voice
    {} wird nie auf Zuruf ausgeführt
this is never done by voice
    das wird nie auf Zuruf ausgeführt
only for {}; it was said by a {}
    nur für {}; gesagt hat es jemand mit der Rolle {}
it was said {} s ago, which is too long: say it again
    es wurde vor {} s gesagt, zu lange her: noch einmal sagen
it was done a moment ago; again in {} s
    es wurde eben erst ausgeführt; wieder in {} s
too many commands are under way: settle those that ask for it
    zu viele Befehle sind unterwegs: erst die offenen beantworten
interlock: nobody has told {} lately, and it must be {}
    Verriegelung: {} hat lange niemand gemeldet, es muss aber {} sein
interlock: {} is {} and must be {}
    Verriegelung: {} ist {} und muss {} sein
it is read back first
    es wird erst zurückgefragt
it needs a code word
    es braucht ein Codewort
it needs a button
    es braucht einen Knopfdruck
a second person has to confirm it
    eine zweite Person muss es bestätigen
it was not heard with certainty
    es wurde nicht sicher verstanden
it was only read as text
    es wurde nur als Text gelesen
understood
    verstanden
another command was given
    es kam ein anderer Befehl
one of two has confirmed; now another person
    eine von zweien hat bestätigt; jetzt noch eine andere Person
somebody saw that it was done
    jemand hat gesehen, dass es ausgeführt wurde
somebody saw that it was not done
    jemand hat gesehen, dass es nicht ausgeführt wurde
speech went on: say it again
    es wurde weitergesprochen: noch einmal sagen
nobody confirmed it in time
    niemand hat es rechtzeitig bestätigt
it could not be sent in time
    es konnte nicht rechtzeitig gesendet werden
it could not be written down in time: say it again
    es konnte nicht rechtzeitig aufgezeichnet werden: noch einmal sagen
shadow mode: it would have been sent now
    Probebetrieb: jetzt wäre es gesendet worden
the daemon stops: say it again
    streamd wird beendet: noch einmal sagen
the daemon was restarted: say it again
    streamd wurde neu gestartet: noch einmal sagen
the daemon was restarted while it was under way
    streamd wurde neu gestartet, während es unterwegs war
the daemon was restarted before this was understood: say it again
    streamd wurde neu gestartet, bevor das verstanden war: noch einmal sagen
this was not heard in full, or too much was said at once: say it again
    das wurde nicht ganz gehört, oder es war zu viel auf einmal: noch einmal sagen
the daemon lost sight of it: {}
    streamd hat es aus den Augen verloren: {}
what is to be taken back is still being sent: say it again
    was zurückgenommen werden soll, wird noch gesendet: noch einmal sagen
no command of the last {} s is known that could be taken back
    aus den letzten {} s ist kein Befehl bekannt, der sich zurücknehmen ließe
the definition of {} has no undo
    {} lässt sich nicht zurücknehmen
readers of the log have it; no target is named
    wer mitliest, hat es; ein Ziel ist nicht genannt
no answer within {} s
    keine Antwort in {} s
an earlier attempt may have done it; {}
    vielleicht wurde es bei einem früheren Versuch ausgeführt; {}
what it should read, {}, was not said
    was dort stehen soll, {}, wurde nicht gesagt
it reads {}
    dort steht {}
it can't be read after {} s
    nach {} s lässt es sich nicht lesen
it reads {} and not {} after {} s
    dort steht {} und nicht {}, nach {} s
{} can't be reached: {}
    {} ist nicht zu erreichen: {}
the broker {} can't be reached: {}
    der Broker {} ist nicht zu erreichen: {}
{} of the broker {} can't be listened to: {}
    {} beim Broker {} lässt sich nicht abhören: {}
the broker has taken it for {}; the machine does not say whether it was done
    der Broker hat es für {} angenommen; die Maschine sagt nicht, ob es ausgeführt wurde
{} can't be a level of a topic
    {} kann keine Ebene eines Topics sein
it answers {}
    die Antwort ist {}
it answers {}: taken on, but nobody says whether it was done
    die Antwort ist {}: angenommen, aber niemand sagt, ob es ausgeführt wurde
the tool {} says: {}
    das Werkzeug {} sagt: {}
the tool {} says that it is done
    das Werkzeug {} sagt, dass es ausgeführt ist
{} does not take {}: {}
    {} nimmt {} nicht an: {}
{} has returned
    {} ist durchgelaufen
{} says that it was not done
    {} sagt, dass es nicht ausgeführt wurde
"""


def _pairs(text: str) -> Mapping[str, str]:
    lines = [line.strip() for line in text.strip().splitlines()]
    return dict(zip(lines[::2], lines[1::2], strict=True))


_TEXTS: Mapping[str, Mapping[str, str]] = {"de": _pairs(_GERMAN)}


def is_known(template: str, language: str) -> bool:
    """Whether a template is translated."""
    return template in _TEXTS.get(language, {})
