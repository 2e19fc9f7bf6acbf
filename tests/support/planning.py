"""A plan of a load by round figures."""

from callmeter.planning.capacity import Plan, make_plan
from callmeter.planning.load import Deployment, Load
from tests.support.capacity import round_figures

LARGE = Deployment(master_bytes=1e12)


def plan_of(load: Load, deployment: Deployment = LARGE, **figures: float) -> Plan:
    """The plan by the made-up figures and more of them."""
    return make_plan(load, deployment, round_figures(**figures))
