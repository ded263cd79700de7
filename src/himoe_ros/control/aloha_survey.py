"""Gathers what ALOHA's followers tell, for a preflight. Moves nothing, sets nothing."""

from __future__ import annotations

from ..core.errors import DriverError
from .aloha_preflight import FollowerFacts
from .interbotix import InterbotixArm

LISTEN_S = 1.0


def survey_followers(names: list[str], model: str) -> list[FollowerFacts]:
    """What each follower tells; why it tells nothing, where it does not.

    Args:
        names: of the robots, in the order of the arms.
        model: such as aloha_vx300s.
    """
    facts = []
    for name in names:
        link = InterbotixArm(name, model)
        try:
            joints = link.open()
            rate = link.states_hz(LISTEN_S)
            facts.append(FollowerFacts(name, joints, link.positions(), rate))
        except DriverError as error:
            facts.append(FollowerFacts(name, (), {}, 0.0, str(error)))
        finally:
            link.close()
    return facts
