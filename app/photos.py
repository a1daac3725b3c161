"""The photos of shoppers in memory: so many pixels at a time, whoever sent them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from PIL.Image import Image

from app.errors import OverloadedError
from app.images import decode_image, pixels_of
from app.metrics import Metrics
from app.settings import Settings


class Photos:
    """Decodes photos within ``max_image_bytes`` and ``max_image_pixels``, one after another above a number of pixels.

    All that are in work at the same time have at most ``max_pixels_in_work`` together, or are a single larger one. The
    others wait in the order they came. Thread-safe; a thread that holds a photo must not open another.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._limits = {"max_bytes": settings.max_image_bytes, "max_pixels": settings.max_image_pixels}
        self._room = settings.max_pixels_in_work
        self._max_wait = settings.max_wait_ms / 1000
        self._metrics = metrics
        self._in_work = 0
        self.waiting: deque[object] = deque()
        """Those that wait for room, in their order."""
        self._changed = threading.Condition()

    def pixels(self, data: bytes, name: str) -> int:
        """From the header. Raises BadInputError for a photo that is none, or above the limits."""
        return pixels_of(data, name=name, **self._limits)

    def decode(self, data: bytes, name: str) -> Image:
        """As upright RGB, inside of :meth:`room` for its pixels. Raises BadInputError."""
        return decode_image(data, name=name, **self._limits)

    @contextmanager
    def opened(self, data: bytes, name: str) -> Iterator[Image]:
        """A photo as upright RGB, with room for it as long as the block needs it.

        Raises BadInputError for a photo that cannot be used, OverloadedError as :meth:`room`.
        """
        with self.room(self.pixels(data, name)):
            yield self.decode(data, name)

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Room for photos of so many pixels, from before they are decoded until they are needed no more.

        Raises OverloadedError if there is none within ``max_wait_ms``.
        """
        pixels = min(pixels, self._room)
        self._take(pixels)
        try:
            yield
        finally:
            with self._changed:
                self._in_work -= pixels
                self._changed.notify_all()

    def _take(self, pixels: int) -> None:
        turn = object()
        with self._changed:
            self.waiting.append(turn)
            is_there = self._changed.wait_for(
                lambda: self.waiting[0] is turn and self._in_work + pixels <= self._room, self._max_wait
            )
            self.waiting.remove(turn)
            self._changed.notify_all()
            if not is_there:
                self._metrics.rejected.labels("wait").inc()
                raise OverloadedError(
                    "too many large photos are in work; send a smaller one, or try again in a moment",
                    retry_after=self._max_wait,
                )
            self._in_work += pixels
