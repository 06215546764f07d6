import numpy as np
import pytest

from dtql_robot.envs import make_env
from dtql_robot.envs.compose import split_recipes
from dtql_robot.errors import InputError


def test_a_spec_without_recipes_is_itself():
    assert split_recipes("FetchReach-v4") == ("FetchReach-v4", {})


def test_recipes_are_read_from_the_spec():
    base, recipes = split_recipes("robosuite:Lift+state=a@1.5.2, -b+c=d")
    assert base == "robosuite:Lift"
    assert recipes == {"state": ("a@1.5.2", "-b"), "c": ("d",)}


def test_a_composed_observation_is_its_parts_side_by_side():
    spec = "FetchReach-v4+state=achieved_goal,-desired_goal"
    env = make_env(spec)
    facts = env.get_wrapper_attr("facts")
    assert (facts.spec, facts.obs_shapes["state"]) == (spec, (6,))
    for obs in (env.reset(seed=1)[0], env.step(np.zeros(4))[0]):
        assert env.observation_space.contains(obs)
        assert np.array_equal(obs["state"], np.concatenate([obs["achieved_goal"], -obs["desired_goal"]]))
    env.close()


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("FetchReach-v4+state", r"expected '\+name=key,key,\.\.\.'"),
        ("FetchReach-v4+state=achieved_goal,", r"expected '\+name=key,key,\.\.\.'"),
        ("FetchReach-v4+state=pose", r"no observation 'pose'; the environment gives .*achieved_goal"),
    ],
)
def test_a_wrong_recipe_is_said_in_a_sentence(spec, sentence):
    with pytest.raises(InputError, match=sentence):
        make_env(spec)
