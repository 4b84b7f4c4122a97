import numpy as np
from fakes import FakeEngine, face_spec

from service.labels import AttributeSpace
from service.reservoir import POPULAR_AFTER, Reservoir
from service.telemetry import Telemetry

FEMALE, MALE, OLD = {"gender": "female"}, {"gender": "male"}, {"age": "60+"}


class Rig:
    def __init__(self, capacity=4, label_sets=2):
        self.nudges = 0
        self.telemetry = Telemetry()
        self.reservoir = Reservoir(capacity, label_sets, self.telemetry, self._nudged)
        self.engine = FakeEngine()

    def _nudged(self):
        self.nudges += 1

    def fill(self):
        """As much as it wants; how many faces each plan had."""
        sizes = []
        while plan := self.reservoir.plan(self.engine.spec, 3):
            self.reservoir.fill(plan, self.engine.generate(plan.z_BZ, plan.y_BL))
            sizes.append(len(plan.faces))
        return sizes

    def ask(self, given, times=1):
        return [self.reservoir.take(given) for _ in range(times)]


def test_it_is_filled_to_its_capacity_and_no_further():
    rig = Rig()
    assert rig.reservoir.hungry
    assert rig.fill() == [3, 1]
    assert not rig.reservoir.hungry
    assert len(rig.reservoir) == 4


def test_each_face_is_handed_out_once_and_is_what_the_engine_makes_of_its_seed():
    rig = Rig()
    rig.fill()
    faces = rig.ask({}, 5)
    assert faces[4] is None
    assert len({face.seed.text for face in faces[:4]}) == 4
    for face in faces[:4]:
        assert face.labels == rig.engine.spec.space.complete({}, face.seed.text)
        assert face.image_HWC.shape == (16, 16, 3)
    assert rig.nudges == 5
    value = rig.telemetry.registry.get_sample_value
    assert value("visage_reservoir_requests_total", {"result": "hit"}) == 4
    assert value("visage_reservoir_requests_total", {"result": "miss"}) == 1


def test_a_label_set_has_a_store_once_it_is_asked_for_again():
    rig = Rig()
    rig.ask(FEMALE, POPULAR_AFTER - 1)
    rig.fill()
    assert rig.ask(FEMALE) == [None]
    rig.fill()
    (face,) = rig.ask(FEMALE)
    assert face.labels["gender"] == "female"


def test_the_label_set_that_is_longest_unasked_gives_way():
    rig = Rig(label_sets=2)
    rig.ask(FEMALE, POPULAR_AFTER)
    rig.ask({})
    rig.ask(MALE, POPULAR_AFTER)
    rig.fill()
    assert rig.ask(FEMALE) == [None]
    assert rig.ask(MALE) != [None]
    assert rig.ask({}) != [None]


def test_a_stream_of_label_sets_that_nobody_repeats_leaves_nothing_behind():
    rig = Rig(label_sets=2)
    for number in range(1000):
        rig.ask({"age": str(number)})
    assert len(rig.reservoir._asked) <= 8 * 2
    assert rig.fill() == [3, 1]


def test_clearing_forgets_the_faces_but_not_what_is_popular():
    rig = Rig()
    rig.ask(OLD, POPULAR_AFTER)
    rig.fill()
    rig.reservoir.clear()
    assert len(rig.reservoir) == 0
    assert sum(rig.fill()) == 8


def test_a_plan_whose_label_set_has_lost_its_store_is_dropped():
    rig = Rig(label_sets=1)
    plan = rig.reservoir.plan(rig.engine.spec, 2)
    rig.ask(FEMALE, POPULAR_AFTER)
    rig.reservoir.fill(plan, np.zeros((2, 16, 16, 3), np.uint8))
    assert len(rig.reservoir) == 0


def test_without_capacity_it_wants_and_holds_nothing():
    rig = Rig(capacity=0)
    assert rig.ask({}, 5) == [None] * 5
    assert rig.fill() == []
    assert not rig.reservoir.hungry
    assert rig.nudges == 0


def test_a_model_without_labels_has_one_store():
    rig = Rig()
    rig.engine = FakeEngine(face_spec(space=AttributeSpace()))
    rig.fill()
    assert len(rig.reservoir) == 4
