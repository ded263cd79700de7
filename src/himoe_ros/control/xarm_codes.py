"""What the xArm's numbers mean, in the vendor's words, and which errors arming may clear.

Texts: xarm-python-sdk 1.18.4, core/config/x_code.py and x3/code.py.
"""

from __future__ import annotations

from .xarm_sdk import ControllerError, ControllerWarn, GripperError

OK, HAS_ERROR, HAS_WARNING, NO_ANSWER, NOT_SENT, GRIPPER_FAULT = 0, 1, 2, 3, 8, 102
NOT_CONNECTED = -1
CALLS = {
    NOT_CONNECTED: "not connected",
    -2: "not ready: enable the motors and set the state",
    -8: "a joint target is out of the vendor's range",
    HAS_ERROR: "an error has not been cleared",
    HAS_WARNING: "a warning has not been cleared",
    NO_ANSWER: "no answer in time",
    4: "an answer of the wrong length",
    6: "an answer of another protocol",
    7: "an answer to another request",
    NOT_SENT: "the request could not be sent",
    9: "the state does not allow motion: stopped, or paused by another program",
    10: "the controller refused the request",
    19: "the tool at the end of the arm does not answer",
    22: "the tool's serial line runs at another speed",
    51: "not in servo mode",
    GRIPPER_FAULT: "the gripper reports an error",
}

# Errors after which the vendor asks for no more than to enable again, once the cause is gone: clearing
# moves nothing, and one whose cause stands comes back at once. Buttons and the emergency input (1-3) are
# among them: as long as they are pressed the controller keeps the error. Of all others (motors, sensors,
# boards, real-time faults, and numbers we do not know) a person has to find the cause first.
CLEARED_BY_ARMING = frozenset((1, 2, 3, 19, 21, 22, 23, 24, 25, 27, 31, 32, 34, 35, 36, 37, 40, 60))
_MOTORS = range(10, 18)
_POWER_CYCLE = (
    "Press the emergency stop button, wait 10 s, release it, and look the joint up in UFACTORY Studio; "
    "if it comes back, contact the vendor"
)


def error_words(code: int) -> str:
    """A controller error: its number, what it means, what to do."""
    error = ControllerError(code)
    advice = error.description["en"] or (_POWER_CYCLE if code in _MOTORS else "")
    if "{}" in advice:  # the vendor fills figures in here
        advice = "Slow the motion down: the tool was commanded faster than the controller allows"
    return _sentence(f"controller error C{code}, {error.title['en']}", advice)


def warning_words(code: int) -> str:
    """A controller warning: its number and what it means."""
    return f"controller warning {code}, {ControllerWarn(code).title['en']}"


def gripper_words(code: int) -> str:
    """An error of the gripper: its number, what it means, what to do."""
    error = GripperError(code)
    return _sentence(f"gripper error {code}, {error.title['en']}", error.description["en"])


def call_words(code: int) -> str:
    """The code that a call of the SDK returned."""
    return f"code {code}, {CALLS.get(code, 'see the API codes of the SDK')}"


def _sentence(what: str, advice: str) -> str:
    return what.rstrip(".") + (f". {' '.join(advice.split()).rstrip('.')}" if advice else "")
