"""What a broken invariant raises. Knows no invariant."""


class Violation(AssertionError):
    """An invariant does not hold."""


def require(holds: object, what: str) -> None:
    """Raise a violation unless this holds."""
    if not holds:
        raise Violation(what)
