"""How likely a word must be to stay before it is shown, and before it is shown for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """When a word is shown, and when it is shown for good."""

    show: float = 0.82  # probability that it stays …
    show_after_s: float = 0.5  # … or so much sound during which it has stood …
    show_age_s: float = 0.5  # … or so much sound since it was said: more of it will not help
    commit: float = 0.95
    commit_after_s: float = 0.8
    commit_age_s: float = 1.0
    hold_s: float = 0.15  # a word that ends within the newest sound is not committed
    replace_after: int = 4  # guesses in a row that change a shown word, before it is changed


Preset = Literal["fast", "balanced", "calm"]
PRESETS: dict[Preset, Policy] = {
    "fast": Policy(show=0.6, show_after_s=0.3, show_age_s=0.3, commit=0.9, replace_after=2),
    "balanced": Policy(),
    "calm": Policy(
        show=0.95, show_after_s=1.2, show_age_s=1.5, commit=0.96, commit_after_s=1.2, commit_age_s=1.5, replace_after=8
    ),
}
"""Points on the curve of delay against flicker: docs/recognition.md has it."""
