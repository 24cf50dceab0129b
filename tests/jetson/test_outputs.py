import pytest

from clipedge.jetson.errors import ClipedgeError
from clipedge.jetson.live import Step
from clipedge.jetson.outputs import Output, Outputs

STEP = Step(None, None, None, None)


class Noting(Output):
    """Notes what is asked of it, and raises what it is told to."""

    def __init__(self, name, adding=None, closing=None):
        self.name = name
        self.adding, self.closing = adding, closing
        self.added = self.closed = 0

    def add(self, step):
        self.added += 1
        if self.adding is not None:
            raise self.adding

    def close(self):
        self.closed += 1
        if self.closing is not None:
            raise self.closing


@pytest.mark.parametrize(
    "error",
    [ClipedgeError("full"), OSError(28, "No space left on device"), ValueError("a mistake")],
)
def test_one_that_fails_is_closed_and_the_others_go_on(error, caplog):
    before, bad, after = Noting("before"), Noting("bad", adding=error), Noting("after")
    with Outputs([before, bad, after]) as outputs:
        assert not outputs.failed
        outputs.add(STEP)
        outputs.add(STEP)
    assert (before.added, bad.added, after.added) == (2, 1, 2)
    assert (before.closed, bad.closed, after.closed) == (1, 1, 1)
    assert outputs.failed
    assert "bad ends" in caplog.text
    assert ("Traceback" in caplog.text) == isinstance(error, ValueError)


def test_a_reader_of_stdout_that_goes_ends_the_run():
    with pytest.raises(BrokenPipeError), Outputs(
        [Noting("a", adding=BrokenPipeError())]
    ) as outputs:
        outputs.add(STEP)


@pytest.mark.parametrize(
    "error", [ClipedgeError("not whole"), ValueError("a mistake"), KeyboardInterrupt()]
)
def test_all_are_closed_whatever_one_of_them_raises(error):
    first, bad, last = Noting("first"), Noting("bad", closing=error), Noting("last")
    outputs = Outputs([first, bad, last])
    try:
        outputs.close()
    except KeyboardInterrupt:
        assert isinstance(error, KeyboardInterrupt)
    assert (first.closed, bad.closed, last.closed) == (1, 1, 1)
    outputs.close()
    assert last.closed == 1


def test_the_run_ends_where_one_of_them_wants_it():
    asking = Noting("window")
    outputs = Outputs([Noting("other"), asking])
    assert not outputs.stop_requested
    asking.stop_requested = True
    assert outputs.stop_requested


def test_the_first_gets_a_step_first():
    order = []
    late, early = Noting("late"), Noting("early")
    late.add = lambda step: order.append("late")
    early.add = lambda step: order.append("early")
    outputs = Outputs([late])
    outputs.include(early, first=True)
    outputs.add(STEP)
    assert order == ["early", "late"]
