"""What an annotator marks of a phantom: the largest nodes, some at random, a share of all."""

from __future__ import annotations

import pytest

from lnq.data.phantom import (
    LargestNodes,
    RandomNodes,
    VolumeShare,
)
from lnq.data.phantom.annotation import AnnotationPolicy
from lnq.seeding import generator


def test_largest_nodes() -> None:
    volumes = {1: 50.0, 2: 700.0, 3: 90.0, 4: 700.0}
    rng = generator(0)
    assert LargestNodes(1).choose(volumes, rng) == {2}
    assert LargestNodes(3).choose(volumes, rng) == {2, 3, 4}
    assert LargestNodes(9).choose(volumes, rng) == {1, 2, 3, 4}


def test_random_nodes_are_drawn_evenly() -> None:
    volumes = {1: 50.0, 2: 700.0, 3: 90.0, 4: 10.0}
    draws = [RandomNodes(2).choose(volumes, generator(0, n)) for n in range(400)]
    assert {len(draw) for draw in draws} == {2}
    # Each node is expected 200 times with a standard deviation of 10.
    assert all(150 < sum(node in draw for draw in draws) < 250 for node in volumes)


def test_volume_share() -> None:
    equal = dict.fromkeys(range(1, 7), 100.0)
    assert all(len(VolumeShare(0.5).choose(equal, generator(n))) == 3 for n in range(10))
    assert VolumeShare(1.0).choose(equal, generator(0)) == set(equal)
    # Half of the large node overshoots the aim of 30 of 300 mm3; the small ones (10 + 20) meet it.
    assert VolumeShare(0.1).choose({1: 270.0, 2: 10.0, 3: 20.0}, generator(0)) == {2, 3}
    # Every node overshoots: the smallest is annotated all the same.
    assert VolumeShare(0.01).choose({1: 60.0, 2: 40.0}, generator(0)) == {2}


@pytest.mark.parametrize("policy", [LargestNodes(2), RandomNodes(2), VolumeShare(0.2)])
def test_policies_annotate_something_where_there_is_something(policy: AnnotationPolicy) -> None:
    assert policy.choose({}, generator(0)) == frozenset()
    assert policy.choose({7: 3.0}, generator(0)) == {7}
