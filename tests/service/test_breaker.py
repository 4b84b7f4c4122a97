import pytest

from service.breaker import Breaker


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def breaker(clock):
    return Breaker(first=1.0, longest=5.0, clock=clock)


def fail_probe(breaker, clock, seconds):
    clock.now += seconds
    attempt = breaker.enter()
    assert attempt.is_probe
    assert breaker.failed(attempt) is False


def test_everything_passes_while_nothing_fails(breaker):
    for _ in range(3):
        attempt = breaker.enter()
        assert not attempt.is_probe
        assert breaker.succeeded(attempt) is False


def test_after_a_failure_nothing_passes_until_the_pause_is_over(breaker, clock):
    assert breaker.failed(breaker.enter()) is True
    assert breaker.enter() is None
    clock.now += 0.99
    assert breaker.enter() is None
    clock.now += 0.01
    assert breaker.enter().is_probe


def test_one_probe_at_a_time(breaker, clock):
    breaker.failed(breaker.enter())
    clock.now += 1
    probe = breaker.enter()
    assert breaker.enter() is None
    assert breaker.succeeded(probe) is True
    assert not breaker.enter().is_probe


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_success(breaker, clock):
    breaker.failed(breaker.enter())
    for pause in (1, 2, 4, 5, 5):
        clock.now += pause - 0.01
        assert breaker.enter() is None
        fail_probe(breaker, clock, 0.01)
    clock.now += 5
    breaker.succeeded(breaker.enter())
    breaker.failed(breaker.enter())
    clock.now += 1
    assert breaker.enter().is_probe


def test_calls_that_fail_together_count_once(breaker, clock):
    attempts = [breaker.enter() for _ in range(20)]
    assert [breaker.failed(attempt) for attempt in attempts] == [True] + 19 * [False]
    clock.now += 1
    assert breaker.enter().is_probe


def test_a_success_from_before_the_failure_proves_nothing(breaker):
    early, other = breaker.enter(), breaker.enter()
    breaker.failed(other)
    assert breaker.succeeded(early) is False
    assert breaker.enter() is None


def test_a_probe_whose_caller_left_makes_room_for_the_next(breaker, clock):
    breaker.failed(breaker.enter())
    clock.now += 1
    breaker.left(breaker.enter())
    assert breaker.enter().is_probe
