"""The states always sum to the plan."""

from __future__ import annotations

import uuid
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.commit import report_name, settle
from prestow.manifest import Receipt
from prestow.model import DataId
from prestow.model.hashing import canonical_json
from prestow.plan import Plan
from prestow.results.status import STATES, status
from prestow.stores import Store, open_store
from prestow.testing.campaigns import Campaign


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Campaign(tmp_path_factory.mktemp("campaign"), visits=3).plan()


def stand(plan: Plan, store: Store, row: int, state: str) -> None:
    """Bring a quantum into a state, as node and engine would leave it in the store."""
    quantum = plan.tables["quanta"].row(row, named=True)
    identity, data_id = str(uuid.UUID(bytes=quantum["id"])), dict(DataId.from_json(quantum["data_id"]))
    job = plan.tables["jobs"]["name"][quantum["job"]]
    if state == "failed":
        entry = {
            "quantum": identity,
            "task": quantum["task"],
            "data_id": data_id,
            "state": "failed",
            "failures": [{"code": "PST-N007", "message": "no"}],
        }
        store.put_if_absent(report_name(job, f"attempt-{row}"), canonical_json({"quanta": [entry]}).encode())
    elif state != "pending":
        settle(
            store,
            Receipt(identity, quantum["task"], plan.run, data_id, job, state, quantum["recipe"].hex(), None),
        )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(st.sampled_from(STATES[:-2]), min_size=7, max_size=7))
def test_states_sum_to_the_plan_and_are_those_of_the_store(plan: Plan, states: list[str]) -> None:
    store = open_store(f"memory://{uuid.uuid4()}")
    for row, state in enumerate(states):
        stand(plan, store, row, state)
    now = status(plan, store)
    assert now.total == plan.tables["quanta"].height == 7
    assert {state: n for state, n in now.counts.items() if n} == Counter(states)
    assert [f.data_id for f in now.failures] == [
        str(DataId.from_json(plan.tables["quanta"]["data_id"][row]))
        for row, state in enumerate(states)
        if state == "failed"
    ]
