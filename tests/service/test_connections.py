"""The bounds by a clock of the test's own; tests/faults/test_crowds.py has real connections."""

import pytest

from service.connections import PROGRESS, Connections
from service.telemetry import Telemetry

PATIENCE, KEEP_ALIVE = 8.0, 40.0


class Loop:
    """A clock, and one timer."""

    def __init__(self):
        self.now, self.due, self.call = 100.0, None, None

    def time(self):
        return self.now

    def call_later(self, delay, call, *given):
        assert self.due is None, "one timer for all"
        self.due, self.call = self.now + delay, lambda: call(*given)
        return self

    def pass_by(self, seconds):
        until = self.now + seconds
        while self.due is not None and self.due <= until:
            self.now, self.due, call = self.due, None, self.call
            call()
        self.now = until


class Client:
    """What Connections sees of one."""

    def __init__(self, loop):
        self.loop, self.transport = loop, self
        self.unsent, self.gone = 0, False
        self.begun = self.answered = self.at_work = False

    def get_extra_info(self, name):
        return None

    def abort(self):
        self.gone = True


class Rig:
    def __init__(self, *, most=100, most_unsent=2**40):
        self.telemetry, self.loop = Telemetry(), Loop()
        self.all = Connections(
            patience=PATIENCE,
            keep_alive=KEEP_ALIVE,
            most=most,
            most_unsent=most_unsent,
            telemetry=self.telemetry,
        )

    def connect(self):
        client = Client(self.loop)
        self.all.opened(client)
        return client

    def rests(self):
        """A client that has had an answer."""
        client = self.connect()
        self.all.heard(client)
        client.answered = True
        self.all.wait_for(client)
        return client

    def reads(self, unsent, *, at_work=False):
        """A client with an answer to take in."""
        client = self.connect()
        client.unsent, client.at_work = unsent, at_work
        self.all.has_to_read(client)
        return client

    def closed(self, reason):
        return self.telemetry.registry.get_sample_value(
            "visage_connections_closed_total", {"reason": reason}
        )


@pytest.fixture
def rig():
    return Rig()


@pytest.mark.parametrize(("begun", "reason"), [(False, "idle"), (True, "slow_request")])
def test_who_sends_no_whole_request_is_closed(rig, begun, reason):
    client = rig.connect()
    client.begun = begun
    rig.loop.pass_by(PATIENCE - 1)
    assert not client.gone
    rig.loop.pass_by(3)
    assert client.gone
    assert rig.closed(reason) == 1


def test_whose_request_is_being_answered_may_wait(rig):
    client = rig.connect()
    rig.all.heard(client)
    rig.loop.pass_by(10 * PATIENCE)
    assert not client.gone
    rig.all.wait_for(client)
    rig.loop.pass_by(PATIENCE + 1)
    assert client.gone


def test_who_has_been_answered_may_rest(rig):
    client = rig.rests()
    rig.loop.pass_by(KEEP_ALIVE - 1)
    assert not client.gone
    rig.loop.pass_by(3)
    assert client.gone
    assert rig.closed("idle") == 1


def test_who_asks_again_has_as_long_as_anybody_to_send_it(rig):
    client = rig.rests()
    rig.loop.pass_by(KEEP_ALIVE - 1)
    client.begun = True
    rig.all.begins(client)
    rig.loop.pass_by(PATIENCE - 1)
    assert not client.gone
    rig.loop.pass_by(3)
    assert client.gone
    assert rig.closed("slow_request") == 1


def test_who_reads_little_by_little_but_enough_stays_until_it_is_all_read(rig):
    client = rig.reads(10 * PROGRESS)
    for _ in range(9):
        rig.loop.pass_by(PATIENCE / 2)
        client.unsent -= PROGRESS
        rig.loop.pass_by(PATIENCE / 2)
    assert not client.gone
    rig.all.has_read(client)
    rig.loop.pass_by(PATIENCE - 1)
    assert not client.gone
    rig.loop.pass_by(3)
    assert rig.closed("idle") == 1


@pytest.mark.parametrize("at_work", [False, True])
def test_who_takes_in_next_to_nothing_is_closed(rig, at_work):
    client = rig.reads(10 * PROGRESS, at_work=at_work)
    rig.loop.pass_by(PATIENCE / 2)
    client.unsent -= PROGRESS - 1
    rig.loop.pass_by(PATIENCE)
    assert client.gone
    assert rig.closed("slow_reader") == 1


def test_who_has_read_what_there_was_so_far_is_still_being_answered(rig):
    client = rig.reads(10 * PROGRESS, at_work=True)
    rig.all.has_read(client)
    rig.loop.pass_by(10 * PATIENCE)
    assert not client.gone


@pytest.mark.parametrize("kinds", [("connect", "rests"), ("rests", "connect")])
def test_one_too_many_costs_whoever_has_been_silent_for_longest(kinds):
    rig = Rig(most=3)
    reads = rig.reads(1)
    first = getattr(rig, kinds[0])()
    rig.loop.pass_by(1)
    second = getattr(rig, kinds[1])()
    rig.loop.pass_by(1)
    rig.connect()
    assert (reads.gone, first.gone, second.gone) == (False, True, False)
    assert rig.closed("crowded") == 1


def test_where_nobody_is_silent_there_is_no_room_for_another():
    rig = Rig(most=2)
    busy = [rig.connect(), rig.connect()]
    for client in busy:
        rig.all.heard(client)
    late = rig.connect()
    assert late.gone
    assert not any(client.gone for client in busy)


def test_too_much_unsent_costs_whoever_has_been_reading_for_longest():
    rig = Rig(most_unsent=100)
    first, second = rig.reads(60), rig.reads(40)
    assert not first.gone
    third = rig.reads(30)
    assert (first.gone, second.gone, third.gone) == (True, False, False)
    # One alone may have more than that: an answer can be as large as it must.
    fourth = rig.reads(1000)
    assert (second.gone, third.gone, fourth.gone) == (True, True, False)


def test_those_who_left_are_forgotten(rig):
    clients = [rig.connect(), rig.reads(PROGRESS)]
    for client in clients:
        rig.all.lost(client)
    rig.loop.pass_by(10 * PATIENCE)
    assert not any(client.gone for client in clients)
    assert rig.telemetry.registry.get_sample_value("visage_connections") == 0
    assert rig.loop.due is None
