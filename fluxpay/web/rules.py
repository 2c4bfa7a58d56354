"""The fraud rules in force: the built-in ones, then those of other packages.

A package registers a rule under the entry point group `fluxpay.fraud_rules`, as an object or as
a class without arguments. A rule that cannot be loaded stops the start: to take payments without
a rule that somebody installed would be worse.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Final

from fluxpay.core.fraud import RULES, Rule
from fluxpay.settings import BadSetting

GROUP: Final = "fluxpay.fraud_rules"


def load_rules() -> tuple[Rule, ...]:
    """Give all rules, in the order in which they are asked.

    Raises:
        BadSetting: A rule of another package cannot be used; the text names it.
    """
    others = [_load(found) for found in sorted(entry_points(group=GROUP))]
    rules = (*RULES, *others)
    names = [rule.name for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadSetting(f"fraud rule {twice!r}", "is there twice; remove one of the packages")
    return rules


def _load(found: EntryPoint) -> Rule:
    subject = f"fraud rule {found.name!r} ({found.value})"
    try:
        loaded = found.load()
        rule = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BadSetting(
            subject, f"cannot be loaded ({reason}); repair or remove its package"
        ) from error
    if not (isinstance(getattr(rule, "name", None), str) and callable(_evaluate_of(rule))):
        raise BadSetting(subject, "has no text `name` and no `evaluate`; see fluxpay.core.fraud")
    checked: Rule = rule
    return checked


def _evaluate_of(rule: object) -> object:
    return getattr(rule, "evaluate", None)
