"""What a large grammar of voice commands costs: `python -m benchmarks.commands_grammar [SENTENCES] [NAMES]`.

A factory is made up: commands with several templates each, and one list of names that most of them refer to. Timed are
reading and compiling the pack, and understanding texts: sentences of the grammar, the same with a word changed, and
talk that has nothing to do with it. hassil's own matcher reads the same texts for comparison.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from hassil.recognize import recognize

from streamd.core.commands.definition import Pack
from streamd.core.commands.grammar import Grammar, Match

TEMPLATES = 20  # of each command
TEXTS = 300
_SYLLABLES = ("ba", "do", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "wen", "xi", "yor", "zan", "gul", "fer")
_TALK = ("so", "the", "delivery", "for", "tomorrow", "is", "late", "again", "and", "nobody", "told", "the", "people")


def factory(sentences: int, names: int) -> Pack:
    """A pack with as many templates and names."""
    verbs = ["start", "pause", "check", "move", "raise", "lower", "clean", "load", "unload", "weigh"]
    things = ["pump", "valve", "belt", "oven", "mixer", "press", "crane", "saw", "drum", "filter"]
    spoken = ["".join(parts) for parts in product(_SYLLABLES, repeat=4)]
    listed = [f"{name} {number}" for number in range(1, 10) for name in random.Random(1).sample(spoken, len(spoken))]
    commands: dict[str, Any] = {}
    for verb, thing in list(product(verbs, things))[: -(-sentences // TEMPLATES)]:
        templates = [
            f"[please] {verb} [the] {thing} {{name}} {how} [to|at] {{level}} [percent] in mode {mode}"
            for how, mode in product(("", "slowly", "quickly", "now", "again"), ("one", "two", "three", "four"))
        ]
        name = f"{verb}_{thing}"
        commands[name] = {
            "name": name,
            "sentences": {"en": templates},
            "params": {
                "name": {"type": "string"},
                "level": {"type": "number", "minimum": 0, "maximum": 100, "unit": "%"},
            },
        }
    lists = {"name": {"values": [{"in": name, "out": name} for name in listed[:names]]}}
    return Pack.model_validate({"commands": commands, "words": {"en": {"lists": lists}}})


def resident_mb() -> float:
    """Memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def timed(calls: Sequence[Callable[[], object]]) -> tuple[float, float, float]:
    """p50, p95 and worst, in milliseconds."""
    spent = []
    for call in calls:
        began = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began) * 1_000)
    spent.sort()
    return spent[len(spent) // 2], spent[len(spent) * 95 // 100], spent[-1]


def row(what: str, figures: tuple[float, float, float]) -> None:
    print(f"{what:44}{figures[0]:9.2f}{figures[1]:9.2f}{figures[2]:9.2f}")


def main(sentences: int = 1_000, names: int = 10_000) -> None:
    """Prints a table."""
    pack = factory(sentences, names)
    gc.collect()
    before = resident_mb()
    began = time.perf_counter()
    grammar = Grammar(pack)
    compiled_ms = (time.perf_counter() - began) * 1_000
    grown = resident_mb() - before
    count = sum(len(command.sentences["en"]) for command in pack.commands.values())
    print(f"{count} sentences, {names} names, {grammar.size('en'):.2e} utterances")
    print(f"compiled in {compiled_ms:.0f} ms, {grown:.0f} MB\n")
    chance = random.Random(2)
    said = [grammar.say("en", chance.randrange(grammar.size("en"))) for _ in range(TEXTS)]
    right = [match.sentence for match in said if match]
    assert all(isinstance(grammar.match(text, "en"), Match) for text in right)
    wrong = [text.replace(" in mode ", " in mood ") for text in right]
    talk = [" ".join(chance.choices(_TALK, k=12)) for _ in range(TEXTS)]
    print(f"{'milliseconds for one text':44}{'p50':>9}{'p95':>9}{'worst':>9}")
    for what, texts in (("a sentence", right), ("a sentence with one word wrong", wrong), ("other talk", talk)):
        row(what, timed([lambda text=text: grammar.match(text, "en") for text in texts]))  # type: ignore[misc]
    grammar.nearest("", "en")  # is made ready once
    row("the nearest sentence", timed([lambda text=text: grammar.nearest(text, "en") for text in wrong]))  # type: ignore[misc]
    intents = grammar.intents("en")
    for what, texts in (("hassil: a sentence", right), ("hassil: a sentence with one word wrong", wrong)):
        row(what, timed([lambda text=text: recognize(text, intents) for text in texts]))  # type: ignore[misc]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
