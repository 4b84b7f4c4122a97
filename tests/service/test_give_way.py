"""Who infers on the processor lets the event loop go first."""

import os
import sys
import threading

import pytest

from service.server import give_way


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
@pytest.mark.parametrize("more", [0, 3])
def test_a_thread_gives_way_with_those_it_starts_and_no_other_does(more: int) -> None:
    before, seen = _niceness(), []
    if before + more > 19:
        pytest.skip("nothing is gentler than this process already is")

    def engine() -> None:
        give_way(before + more)
        inner = threading.Thread(target=lambda: seen.append(_niceness()))
        inner.start()
        inner.join()
        seen.append(_niceness())

    thread = threading.Thread(target=engine)
    thread.start()
    thread.join()
    assert seen == [before + more, before + more]
    assert _niceness() == before
