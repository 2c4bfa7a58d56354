"""Finding what must not be there, in another way than the product takes it out."""

import re


def card_numbers(text: str) -> list[str]:
    """Give what could be the number of a card: groups of digits, 13 to 19, whose check digit fits.

    Looks at each run of whole groups by itself, however they are parted.
    """
    groups = list(re.finditer(r"[0-9]+", text))
    found = []
    for first, begun in enumerate(groups):
        digits, end = "", begun.start()
        for group in groups[first:]:
            if group.start() - end > (1 if digits else 0):
                break
            if digits and text[end] not in " .-_":
                break
            digits, end = digits + group[0], group.end()
            if 13 <= len(digits) <= 19 and _fits(digits):
                found.append(digits)
    return found


def _fits(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled // 10 + doubled % 10
    return total % 10 == 0
