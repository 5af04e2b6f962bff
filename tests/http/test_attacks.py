"""Known attacks fail; and each succeeds as soon as the defence against it is taken out, so that no test passes for nothing."""

from __future__ import annotations

import pytest

from broker_local.server import LocalBroker
from broker_testing.attacks import ATTACKS, Breach
from broker_testing.defences import DEFENCES, Defence
from broker_testing.openapi import difference
from broker_testing.wire import tapped


@pytest.mark.parametrize("name", ATTACKS)
def test_the_attack_fails(base: str, local_broker: LocalBroker, name: str) -> None:
    with tapped(local_broker) as tap:
        ATTACKS[name](base)
    answers = [(one.request.method, one.request.target, one.response) for one in tap.exchanges if not one.is_sandbox]
    assert [problem for answer in answers if (problem := difference(*answer))] == []


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: f"{defence.attack}: {defence.taken_out}")
def test_without_the_defence_the_attack_succeeds(base: str, defence: Defence, monkeypatch: pytest.MonkeyPatch) -> None:
    defence.take_out(monkeypatch)
    with pytest.raises(Breach):
        ATTACKS[defence.attack](base)


def test_every_attack_is_known_to_be_stopped_by_something() -> None:
    assert {defence.attack for defence in DEFENCES} == set(ATTACKS)
