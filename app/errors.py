"""The few errors of MOON Search. Each message says what happened, to which item, and what to do."""


class MoonError(Exception):
    """Base of every error that is meant for the user's eyes."""


class BadInputError(MoonError):
    """A query, picture or filter that cannot be used; the HTTP API answers it with status 400."""


class NotFoundError(MoonError):
    """A product or build that does not exist; the HTTP API answers it with status 404."""


class ModelError(MoonError):
    """A checkpoint that cannot be loaded or does not fit the index."""


class IndexUnavailableError(MoonError):
    """No published index, or one that this version or model cannot read."""


class OverloadedError(MoonError):
    """More requests than the server can take right now; the HTTP API answers it with status 503."""


class CatalogError(MoonError):
    """A catalog that cannot be read as a whole (single bad rows go to the rejects report instead)."""
