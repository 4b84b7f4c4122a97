"""How long to wait before a process is started again."""

from service.restarts import HOPELESS, LONGEST_DELAY, STEADY, Restarts


def test_each_end_in_a_row_doubles_the_delay_up_to_a_bound():
    restarts = Restarts()
    delays = [restarts.after(1, was_ready=True, others_ready=True) for _ in range(2000)]
    assert delays[:4] == [0.5, 1, 2, 4]
    assert delays[-1] == LONGEST_DELAY


def test_a_steady_life_begins_a_new_row():
    restarts = Restarts()
    for _ in range(3):
        restarts.after(1, was_ready=True, others_ready=True)
    assert restarts.after(STEADY, was_ready=True, others_ready=True) == 0.5
    assert restarts.after(STEADY, was_ready=False, others_ready=True) == 1


def test_what_never_was_ready_is_given_up_at_once():
    assert Restarts().after(STEADY, was_ready=False, others_ready=True) is None


def test_a_row_is_given_up_only_while_nothing_else_is_ready():
    alone, accompanied = Restarts(proven=True), Restarts(proven=True)
    given = [alone.after(1, was_ready=False, others_ready=False) for _ in range(HOPELESS)]
    assert None not in given[:-1]
    assert given[-1] is None
    assert accompanied.after(1, was_ready=False, others_ready=True) == 0.5
