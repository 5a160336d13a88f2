"""A call that goes on while its caller does something else."""

import threading

import pytest

from spoolq.meanwhile import Meanwhile


def test_it_goes_on_while_its_caller_does_something_else():
    done = threading.Event()

    def what() -> str:
        assert done.wait(20)
        return threading.current_thread().name

    meanwhile = Meanwhile(what)
    done.set()
    assert meanwhile.result() == meanwhile.result() == "spoolq-meanwhile"


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_what_it_raises_its_caller_gets(error):
    def what() -> None:
        raise error

    meanwhile = Meanwhile(what)
    with pytest.raises(type(error)):
        meanwhile.result()


def test_where_no_thread_can_be_had_it_is_called_when_it_is_asked_for(monkeypatch):
    def none(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    calls: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", none)
    meanwhile = Meanwhile(lambda: calls.append("called"))
    assert calls == []
    assert meanwhile.result() is None
    assert meanwhile.result() is None
    assert calls == ["called"]
