"""Every type of message as real monitors sent it or took it: numbers, versions, fronts.

The embedded monitors encode with the classes that the client decodes with, so that a wrong number would pass every
other test.
"""

from __future__ import annotations

import pytest

from cephmonfs.messages.message import Message, MsgType, to_message
from cephmonfs.messages.registry import FromMonitor, ToMonitor, for_peer, from_monitor, to_monitor
from tests.support.record_msgr1 import FORMS
from tests.vectors import RELEASES, load_json

# Types without a vector here, and why that is enough.
EXCUSED = {
    MsgType.AUTH: "whole sessions of msgr1 are replayed byte for byte: vectors/crypto/msgr1-*.json",
    MsgType.AUTH_REPLY: "likewise",
}

DECODERS = {"monitor": from_monitor, "client": to_monitor}
SENDERS = {
    **{cls.TYPE: "monitor" for cls in FromMonitor.__args__},
    **{cls.TYPE: "client" for cls in ToMonitor.__args__},
}


def recorded(release: str) -> list[tuple[str, Message]]:
    """(who sent it, message) of one release."""
    return [
        (one["from"], Message(one["type"], bytes.fromhex(one["front"]), one["version"], one["compat"]))
        for one in load_json(release, "messages.json")
    ]


MESSAGES = [
    pytest.param(release, sender, message, id=f"{release}-{message.type}-v{message.version}")
    for release in RELEASES
    for sender, message in recorded(release)
]


@pytest.mark.parametrize("release", RELEASES)
def test_every_type_is_recorded_or_excused(release: str) -> None:
    """`python -m tests.support.record_messages` records; a type that it cannot have gets its reason in EXCUSED."""
    there = {(message.type, sender) for sender, message in recorded(release)}
    wanted = {(int(kind), SENDERS[kind]) for kind in MsgType if kind not in EXCUSED}
    assert there == wanted


def test_every_type_has_a_class() -> None:
    assert SENDERS.keys() == set(MsgType)


@pytest.mark.parametrize(("release", "sender", "message"), MESSAGES)
def test_a_recorded_message_is_of_the_class_with_its_number(release: str, sender: str, message: Message) -> None:
    payload = DECODERS[sender](message)
    assert payload is not None
    assert message.type == payload.TYPE
    assert message.compat <= payload.VERSION


@pytest.mark.parametrize(("release", "sender", "message"), [m for m in MESSAGES if m.values[1] == "client"])
def test_what_a_monitor_took_is_what_we_send(release: str, sender: str, message: Message) -> None:
    payload = to_monitor(message)
    assert payload is not None
    form = "all" if message.version == payload.VERSION else "2010"
    sent = to_message(for_peer(payload, FORMS[form]))
    assert (sent.front, sent.version, sent.compat) == (message.front, message.version, message.compat)
