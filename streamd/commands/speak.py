"""Sentences read aloud by a voice that is installed: espeak-ng in many languages, flite in English."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from streamd.commands.hear import try_recordings
from streamd.commands.trial import Trial
from streamd.core.commands.decide import Verdict
from streamd.core.commands.grammar import Grammar, Match, shown
from streamd.core.commands.lint import Finding
from streamd.errors import UnavailableError

SENTENCES = 5  # of each template that are spoken
MOST = 200  # of each language


@dataclass(frozen=True, slots=True)
class Voice:
    """A program that reads aloud, and how it is asked to."""

    program: str
    language: str

    def read(self, text: str, path: Path) -> None:
        """Write a WAV file. Raises UnavailableError."""
        name = Path(self.program).name
        options = {"flite": ["-o", str(path), "-t", text]}.get(name, ["-v", self.language, "-w", str(path), "--", text])
        try:
            subprocess.run([self.program, *options], check=True, capture_output=True)  # noqa: S603 - no shell, no options in text
        except subprocess.CalledProcessError as error:
            why = error.stderr.decode(errors="replace").strip() or f"exit code {error.returncode}"
            raise UnavailableError(f"{self.program} can't read aloud in {self.language}: {why}") from error


def voice(language: str) -> Voice | None:
    """The first voice for this language that is installed."""
    programs = ("espeak-ng", "flite") if language == "en" else ("espeak-ng",)
    found = next(filter(None, map(shutil.which, programs)), None)
    return Voice(found, language) if found else None


def read_aloud(grammar: Grammar, texts: Iterable[str], language: str, model: str) -> Iterator[tuple[str, Trial]]:
    """Each text, and what is made of it when it is spoken. Raises UnavailableError where there is no voice."""
    reader = voice(language)
    if reader is None:
        raise UnavailableError(f"no voice for {language} is installed: sudo apt install espeak-ng")
    with TemporaryDirectory() as folder:
        spoken = {Path(folder) / f"{number}.wav": text for number, text in enumerate(texts)}
        for path, text in spoken.items():
            reader.read(text, path)
        for path, tried in zip(spoken, try_recordings(grammar, spoken, model, language), strict=True):
            yield spoken[path], tried


def round_trip(grammar: Grammar, model: str) -> Iterator[Finding]:
    """Warnings of sentences that are heard as another action when a voice reads them, and how many were understood."""
    for language in grammar.languages:
        said = {match.sentence: match for match in _some(grammar, language)}
        right = 0
        for text, tried in read_aloud(grammar, said, language, model):
            match = said[text]
            place = ("commands", match.command.name, "sentences", language, match.template)
            if (tried.name, tried.params) == (match.command.name, match.params):
                right += 1
            elif tried.decision is not Verdict.REJECT:
                other = f"{tried.name}({', '.join(f'{key}={value}' for key, value in tried.params.items())})"
                yield Finding(
                    "warning", place, f"“{text}” is {shown(match)}, and is heard as {other} when it is spoken"
                )
        yield Finding("note", ("commands",), f"{right} of {len(said)} spoken sentences were understood ({language})")


def _some(grammar: Grammar, language: str) -> Iterator[Match]:
    """A few sentences of each template."""
    count = sum(len(command.sentences.get(language, ())) for command in grammar.pack.commands.values())
    for index in grammar.network(language).spread(min(MOST, SENTENCES * count)):
        if match := grammar.say(language, index):
            yield match
