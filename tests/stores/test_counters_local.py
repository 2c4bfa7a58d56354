"""Requests and payments counted in this process, by a clock that the test moves."""

from fluxpay.core.effects import CountRequestLocally, CountVelocityLocally
from fluxpay.core.fraud import PaymentLimit, Velocity
from fluxpay.core.limits import Quota, WindowCount
from fluxpay.core.money import Money
from fluxpay.stores.local_counters import LocalCounters

MINUTE = Quota(name="default", requests=3, window_s=60)
DAY_MS = 86_400_000


class Kiosk:
    """Counters, their clock, and one tenant."""

    def __init__(self, *, tenants_max: int = 10) -> None:
        self.now_ms = DAY_MS
        self.counters = LocalCounters(lambda: self.now_ms, tenants_max=tenants_max)

    def request(self, *quotas: Quota, tenant_id: str = "ten_a") -> tuple[WindowCount, ...]:
        return self.counters.count_request(CountRequestLocally(tenant_id, quotas))

    def pay(self, amount_minor: int, limit: PaymentLimit) -> Velocity:
        money = Money(amount_minor, limit.currency)
        return self.counters.count_velocity(CountVelocityLocally("ten_a", money, limit))


def test_requests_are_counted_until_the_quota_is_spent() -> None:
    kiosk = Kiosk()
    assert [0, 1, 2, 3, 3] == [kiosk.request(MINUTE)[0].current for _ in range(5)]


def test_the_window_before_is_told_until_it_is_two_windows_back() -> None:
    kiosk = Kiosk()
    kiosk.request(MINUTE)
    kiosk.now_ms += 60_000 + 250
    assert (WindowCount(previous=1, current=0, elapsed_ms=250),) == kiosk.request(MINUTE)
    kiosk.now_ms += 120_000
    assert (WindowCount(previous=0, current=0, elapsed_ms=250),) == kiosk.request(MINUTE)


def test_a_request_counts_against_all_quotas_or_none() -> None:
    kiosk = Kiosk()
    spent = Quota(name="spent", requests=0, window_s=60)
    kiosk.request(MINUTE, spent)
    assert [0] == [one.current for one in kiosk.request(MINUTE)]


def test_a_payment_over_one_limit_counts_towards_neither() -> None:
    kiosk = Kiosk()
    both = PaymentLimit("EUR", 1000, 100, velocity_count=1, velocity_window_s=60)
    answers = [kiosk.pay(amount_minor, both) for amount_minor in (101, 60, 10, 1)]
    assert [Velocity(1, 101), Velocity(1, 60), Velocity(2, 70), Velocity(2, 61)] == answers


def test_velocity_starts_anew_with_its_window_and_volume_with_the_day() -> None:
    kiosk = Kiosk()
    both = PaymentLimit("EUR", 1000, 100, velocity_count=9, velocity_window_s=60)
    kiosk.pay(5, both)
    kiosk.now_ms += 60_000
    assert Velocity(1, 10) == kiosk.pay(5, both)
    kiosk.now_ms += DAY_MS
    assert Velocity(1, 5) == kiosk.pay(5, both)


def test_what_has_no_limit_is_not_counted() -> None:
    kiosk = Kiosk()
    assert [Velocity(1, 5)] * 2 == [kiosk.pay(5, PaymentLimit("EUR", 1000)) for _ in range(2)]


def test_the_tenant_that_was_not_seen_for_longest_leaves_first() -> None:
    kiosk = Kiosk(tenants_max=2)
    for tenant_id in ("ten_a", "ten_b", "ten_a", "ten_c"):
        kiosk.request(MINUTE, tenant_id=tenant_id)
    remembered = {one: kiosk.request(MINUTE, tenant_id=one)[0].current for one in ("ten_a",)}
    assert {"ten_a": 2} == remembered
    assert 0 == kiosk.request(MINUTE, tenant_id="ten_b")[0].current
    assert 2 == len(kiosk.counters._tenants)


def test_windows_that_weigh_nothing_any_more_are_dropped() -> None:
    kiosk = Kiosk()
    for number in range(100):
        kiosk.request(Quota(name=f"renamed {number}", requests=1, window_s=60))
        kiosk.now_ms += 60_000
    # This one, the one before, and the one that was over while this was made.
    assert len(kiosk.counters._tenants["ten_a"]) <= 3
