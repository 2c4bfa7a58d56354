"""Domain events: what happened, for whoever wants to hear of it.

An event is written in the transaction that made it true, so there is never one without the
other. Must not know who listens nor how it travels.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class EventType(StrEnum):
    """What can happen; the names are public."""

    PAYMENT_AUTHORIZED = "payment.authorized"
    PAYMENT_CAPTURED = "payment.captured"
    PAYMENT_VOIDED = "payment.voided"
    PAYMENT_EXPIRED = "payment.expired"
    REFUND_CREATED = "refund.created"
    TRANSFER_CREATED = "transfer.created"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Args:
        id: A TypeID, `evt_...`.
        subject_id: What it happened to, such as a payment's id.
        data: The subject as it was then, a JSON document in UTF-8.
    """

    id: str
    type: EventType
    subject_id: str
    data: bytes
    created_at: datetime
