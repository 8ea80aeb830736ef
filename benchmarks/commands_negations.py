"""Orders, and what makes them none, spoken by a voice: `python -m benchmarks.commands_negations [MODEL] [COUNT]`.

Frames such as "don't …", "he said …", "if I …" and "… no wait" around sentences of the press line, in English and
German, read by espeak-ng; beside them the sentences alone. Printed is how many were accepted, asked about and rejected:
of what is no order none may be accepted, and of the orders most should be.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

from streamd.commands.files import load
from streamd.commands.speak import read_aloud
from tests.test_core_commands_guards import FRAMES


def main(model: str = "base", count: int = 50) -> None:
    """Prints a table, and every text that was not rejected though it should have been."""
    grammar = load(["press-line"]).grammar()
    chance = random.Random(3)
    print(f"{'':28}{'spoken':>8}{'accepted':>10}{'asked':>8}{'rejected':>10}")
    wrong = []
    for language in ("en", "de"):
        said = [grammar.say(language, index) for index in grammar.network(language).spread(400)]
        orders = [match.sentence for match in said if match and match.command.safety.risk != "forbidden"]
        frames = [frame for kind in FRAMES[language].values() for frame in kind if "?" not in frame]
        framed = [chance.choice(frames).format(chance.choice(orders)) for _ in range(count)]
        for what, texts in (("orders", chance.sample(orders, count)), ("no orders", framed)):
            heard = list(read_aloud(grammar, dict.fromkeys(texts), language, model))
            found = Counter(tried.decision.value for _, tried in heard)
            row = "".join(
                f"{found[verdict]:{width}}" for verdict, width in (("accept", 10), ("confirm", 8), ("reject", 10))
            )
            print(f"{language} {what:25}{len(heard):8}{row}", flush=True)
            if what == "no orders":
                wrong += [(text, tried) for text, tried in heard if tried.decision != "reject"]
    for text, tried in wrong:
        print(f"{tried.decision}: “{text}” as “{tried.nearest}” {dict(tried.scores)}")


if __name__ == "__main__":
    main(sys.argv[1] if sys.argv[1:] else "base", int(sys.argv[2]) if sys.argv[2:] else 50)
