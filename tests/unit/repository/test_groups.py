"""Which tests of a whole run share a process: those that share a service, and no others."""

from __future__ import annotations

import pytest
from support.groups import asks_the_shared_service, group_of, in_turns


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/service/test_links.py::test_a_link", "the shared service"),
        ("tests/service/test_follow.py::test_it[x]", "the shared service"),
        ("tests/service/test_views.py::test_it[house-front]", "the shared service"),
        ("tests/service/test_views.py::test_it[house_on_postgres]", "the shared service house_on_postgres"),
        ("tests/service/test_kill.py::test_it[fault-sqlite]", "tests/service/test_kill.py sqlite"),
        ("tests/service/test_kill.py::test_it[postgres]", "tests/service/test_kill.py postgres"),
        ("tests/service/test_chaos.py::test_a", "tests/service/test_chaos.py::test_a"),
        ("tests/unit/hy3dgen/test_models.py::test_a[b]", "tests/unit/hy3dgen/test_models.py"),
    ],
)
def test_tests_that_share_a_service_share_a_process(nodeid: str, group: str) -> None:
    assert group_of(nodeid) == group


def test_a_file_with_a_service_of_its_own_shares_none() -> None:
    assert asks_the_shared_service("tests/service/test_main_line.py")
    assert not asks_the_shared_service("tests/service/test_metrics.py")
    assert not asks_the_shared_service("tests/e2e/test_studio.py")


def test_the_longest_come_first_and_waiting_and_computing_take_turns() -> None:
    kill, links = "tests/service/test_kill.py sqlite", group_of("tests/service/test_links.py::test_a")
    others = [f"tests/unit/test_{letter}.py" for letter in "abc"] + ["tests/fuzz/test_http.py"]
    order = in_turns([*others, kill, links])
    assert order.index(links) < order.index(kill) < order.index("tests/fuzz/test_http.py")
    assert ["unit" in group for group in order] == [False, True] * 3
