"""Quorum: makes sure that a command was answered by a monitor in quorum.

A monitor that has lost its quorum goes on answering keepalives and commands from the state that it had:
`quorum_status` for 10 s; `health`, `status` and `df` for 20 s and more.  MMonGetVersion and MStatfs it keeps until it
may read again; it stops answering them when its lease ends, 5 s after the loss at most.  So do Nautilus, Pacific, Reef
and Tentacle, leaders and peons.

So commands leave behind a question that only a quorum answers, the *proof* (MMonGetVersion).  A monitor answers in
order.  A reply that comes before the answer to the proof is old state: it is not taken, and the command is asked again.
At most one proof is open.  Commands that are asked meanwhile leave with the next one.

MMonGetVersion needs the caps `mon 'allow r'`, as the command `fsid` does, with which each session begins.  With fewer
caps no command can be proven, and replies are taken as they come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cephmonfs.messages.mon import MMonGetVersion
from cephmonfs.mon.requests import Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from cephmonfs.mon.requests import ConnectionId, Request, Requests
    from cephmonfs.mon.snapshot import Stamp

_MAP: Final = "monmap"


class Quorum:
    """The open proof, and when the newest answered one was asked."""

    def __init__(self, requests: Requests) -> None:
        self.proven: Stamp | None = None  # when the newest answered question that only a quorum answers was asked
        self.denied = False  # the caps do not cover the proof
        self.skipped: ConnectionId | None = (
            None  # this monitor answered a command, and not what only a quorum answers before it
        )
        self.lost = False  # and it was late with that
        self._requests = requests

    @property
    def proof(self) -> Request | None:
        """The open proof."""
        return next((r for r in self._requests.pending() if r.kind is Kind.VERSION), None)

    def commands(self) -> tuple[Request, ...]:
        """Return the commands that may leave: those with a proof, or all if none can be had."""
        proof = self.proof
        commands = (r for r in self._requests.pending() if r.kind is Kind.COMMAND and not r.optional)
        return tuple(r for r in commands if proof is None or r.tid < proof.tid)

    def ask(self, connections: Collection[ConnectionId], now: float) -> Request | None:
        """Return the open proof; a new one if a command has yet to leave on one of these connections; else None."""
        proof = self.proof
        if proof is None and not self.denied and any(not r.sent.keys() >= set(connections) for r in self.commands()):
            proof = self._requests.add(Kind.VERSION, lambda _: MMonGetVersion(tid, _MAP), now)
            tid = proof.tid
        return proof

    def doubts(self, conn_id: ConnectionId, command: Request) -> bool:
        """Whether this command left behind a proof that is still unanswered."""
        request = self.proof
        return request is not None and command.proofs.get(conn_id) == request.tid

    def answered(self, asked: Stamp) -> None:
        """A question that only a quorum answers was answered; it left for the monitor that answered at `asked`."""
        self.skipped, self.lost = None, False
        if self.proven is None or asked.mono > self.proven.mono:
            self.proven = asked

    def command_answered(self, conn_id: ConnectionId, statfs: Request | None) -> None:
        """This monitor answered a command that was asked when this statfs was late."""
        if statfs is not None and conn_id in statfs.sent:
            self.skipped = conn_id

    def probed(self, *, denied: bool) -> None:
        """The session's first command was answered: the caps cover the proof, or not."""
        self.denied = denied
        self.forget_unwanted()

    def statfs_denied(self) -> None:
        """The caps do not cover a statfs; if no proof was ever answered, they do not cover that either."""
        if self.proven is None:
            self.skipped, self.lost = None, False
            self.probed(denied=True)

    def forget_unwanted(self) -> None:
        """An open proof that no command waits for is asked for no more."""
        proof = self.proof
        if proof is not None and (self.denied or not (self.lost or self.commands())):
            self._requests.forget(proof)
