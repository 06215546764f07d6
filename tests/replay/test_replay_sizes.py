"""Sizes of objects from a recorded model, which anybody may have written."""

import mujoco
import numpy as np
import pytest

from dtql_robot.errors import InputError
from dtql_robot.replay.robosuite_states import adopt_sizes

MODEL = """<mujoco><worldbody>
  <geom name="table" type="box" size="1 1 .1"/>
  <body name="cube"><freejoint/><geom name="cube" type="box" size=".02 .02 .02"/></body>
</worldbody></mujoco>"""


def test_what_moves_freely_takes_the_recorded_size():
    model = mujoco.MjModel.from_xml_string(MODEL)
    adopt_sizes(model, MODEL.replace(".02 .02 .02", ".03 .02 .01").replace("1 1 .1", "9 9 9"))
    np.testing.assert_allclose(model.geom("cube").size, [0.03, 0.02, 0.01])
    np.testing.assert_allclose(model.geom("table").size, [1, 1, 0.1])


@pytest.mark.parametrize("size", ["a", "0.02 nan 0.02", "-1 1 1", "0 0 0", "inf", "1e999 1 1", "1 1 1 1"])
def test_sizes_that_are_none_are_one_sentence(size):
    model = mujoco.MjModel.from_xml_string(MODEL)
    with pytest.raises(InputError, match=r"gives 'cube' the size .* expected up to 3 positive numbers"):
        adopt_sizes(model, MODEL.replace(".02 .02 .02", size))


def test_a_model_that_is_not_xml():
    with pytest.raises(InputError, match="not XML"):
        adopt_sizes(mujoco.MjModel.from_xml_string(MODEL), "<mujoco>")
