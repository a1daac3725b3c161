"""What all tabs answer alike: what went wrong, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.errors import IndexUnavailableError, MoonError, public
from ui.language import ENGLISH, Language
from ui.markup import notice, text


def failed(error: MoonError, data: Path, say: Language = ENGLISH) -> str:
    """A notice that says what happened and what to do, without the server's ``data``."""
    message = public(say.error(error), data)
    message = message[:1].upper() + message[1:]
    if isinstance(error, IndexUnavailableError):
        return notice(say("There is nothing to search yet"), message)
    return notice(say("That did not work"), message, kind="error")


def timings(stages: Mapping[str, float], say: Language = ENGLISH) -> str:
    """One line of milliseconds per stage, nothing without stages."""
    line = " · ".join(f"{text(say(stage))} {_milliseconds(value)}" for stage, value in stages.items())
    return f'<p class="timings">{line}</p>' if line else ""


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"
