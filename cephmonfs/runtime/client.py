"""MonClient: the session in a trio loop.  Sockets and timers; every byte and every moment goes through MonSession.

Each connection has one task that connects and then reads.  Bytes are sent at once, by the task that caused them; what
the socket does not take is left to another task.  One task keeps the session's one deadline.  Callers wait for their
own answer.  Nothing here decides anything: an error in a task here is a bug, costs one connection, and is logged.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

import outcome
import trio

from cephmonfs.errors import AuthError, CephMonFSError, ConfigError, SessionLost
from cephmonfs.model.entity import EntityAddr
from cephmonfs.mon.decoding import DecodeJob
from cephmonfs.mon.hunt import Candidate
from cephmonfs.mon.requests import ConnectionId, WaiterId
from cephmonfs.mon.session import Answered, Changed, Close, Connect, Decode, Failed, MonSession, SessionConfig
from cephmonfs.mon.snapshot import CommandReply, Snapshot, Stamp, State, StatfsRecord
from cephmonfs.mon.statfs import Patience
from cephmonfs.runtime.remembered import Remembered

log = logging.getLogger(__name__)

Resolver = Callable[[], Awaitable[Iterable[Candidate]]]
Result = StatfsRecord | CommandReply

_READ_SIZE: Final = 256 * 1024
_RESOLVE_EVERY_S: Final = 5.0  # at most so often while hunting
_RESTART_AFTER_S: Final = 1.0
_GATHER_ROUNDS: Final = 8  # about the time from an answer to the same caller's next question
_WAKE_AT_ONCE: Final = 32  # callers answered between two looks at other things; about 3 ms of work
_BIND_ADDRESS_NO_PORT: Final = 24  # IP_BIND_ADDRESS_NO_PORT
_MAX_BACKLOG: Final = 4 << 20  # bytes a monitor may leave unread; our requests have some hundreds


class _Wire:
    """The socket of one connection, what it has brought, and what it did not take yet."""

    __slots__ = ("backlog", "received", "scope", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.received = memoryview(bytearray(_READ_SIZE))
        self.backlog = bytearray()
        self.scope = trio.CancelScope()


class MonClient:
    """A session that runs.  Make one with `open_client`."""

    def __init__(
        self,
        config: SessionConfig,
        resolve: Resolver,
        *,
        remember: Remembered | None = None,
        local: str | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock = trio.lowlevel.current_clock()
        self._wall = wall
        self._remember = remember
        self._local = local
        self._resolve = resolve
        self._session = MonSession(config, os.urandom, self.now())
        self._nursery: trio.Nursery | None = None
        self._wires: dict[ConnectionId, _Wire] = {}
        self._scopes: dict[ConnectionId, trio.CancelScope] = {}
        self._parked: dict[WaiterId, trio.lowlevel.Task] = {}
        self._early: dict[WaiterId, Result | CephMonFSError] = {}
        self._timer = trio.CancelScope()
        self._armed = -1.0
        self._gathering = False
        self._generation = 1
        self._watchers = trio.lowlevel.ParkingLot()  # tasks that wait for a change
        self._state = State.CONNECTING
        self._told = 0
        self._problem = ""
        self._hunting = trio.Event()
        self._hunting.set()
        self._resolve_error = ""
        self._hopeless: ConfigError | None = None  # no monitor's address, and trying again would not help

    def now(self) -> Stamp:
        """Return the present moment on both clocks."""
        return Stamp(self._clock.current_time(), self._wall())

    # what the file system sees

    def snapshot(self) -> Snapshot:
        """Return the present view of the session."""
        return self._session.snapshot(self.now())

    async def statfs(self, patience: Patience | None = None, *, may_wait: bool = True) -> StatfsRecord:
        """Ask the monitors for the space; the session decides how long this waits.  Raises CephMonFSError."""
        result = await self._answer(self._session.request_statfs(self.now(), patience, may_wait=may_wait))
        if not isinstance(result, StatfsRecord):
            raise RuntimeError("a statfs was answered by something else")
        return result

    async def command(self, command: Mapping[str, object]) -> CommandReply:
        """Run one read-only monitor command; waits across sessions, the caller sets the deadline."""
        result = await self._answer(self._session.request_command(command, self.now()))
        if not isinstance(result, CommandReply):
            raise RuntimeError("a command was answered by something else")
        return result

    async def wait_change(self, seen: int) -> int:
        """Return the number of the newest change once it differs from `seen`."""
        while self._generation == seen:
            await self._watchers.park()
        return self._generation

    async def wait_open(self) -> None:
        """Return once there is a session; the caller sets the deadline.

        Raises AuthError when we are refused, ConfigError when no monitor's address is to be had.
        """
        seen = 0
        while True:
            seen = await self.wait_change(seen)
            view = self.snapshot()
            if view.state is State.OPEN:
                return
            if self._hopeless is not None:
                raise self._hopeless
            if view.state is State.REFUSED:
                raise AuthError(view.last_error)

    @property
    def resolve_error(self) -> str:
        """Why the monitors' names could not be resolved last time, empty when they could."""
        return self._resolve_error

    # waiting

    async def _answer(self, waiter: WaiterId) -> Result:
        self._flush()
        result = self._early.pop(waiter, None)
        if result is None:
            result = await self._park(waiter)
        if isinstance(result, CephMonFSError):
            raise result
        return result

    async def _park(self, waiter: WaiterId) -> Result | CephMonFSError:
        self._parked[waiter] = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._parked[waiter]
            self._session.give_up(waiter)
            return trio.lowlevel.Abort.SUCCEEDED

        result: Result | CephMonFSError = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def _deliver(self, waiters: tuple[WaiterId, ...], result: Result | CephMonFSError) -> None:
        if len(waiters) > _WAKE_AT_ONCE and self._nursery is not None:
            self._nursery.start_soon(self._guarded, self._deliver_gently, waiters, result)
            return
        for waiter in waiters:
            task = self._parked.pop(waiter, None)
            if task is None:
                self._early[waiter] = result
                continue
            trio.lowlevel.reschedule(task, outcome.Value(result))

    async def _deliver_gently(self, waiters: tuple[WaiterId, ...], result: Result | CephMonFSError) -> None:
        """Wake callers a few at a time, so that a thousand of them do not delay other requests."""
        for start in range(0, len(waiters), _WAKE_AT_ONCE):
            waiting = waiters[start : start + _WAKE_AT_ONCE]
            self._deliver(tuple(waiter for waiter in waiting if waiter in self._parked), result)
            await trio.lowlevel.checkpoint()

    # the pump

    def _flush(self) -> None:
        """Carry out what the session wants after an input."""
        session = self._session
        while (event := session.next_event()) is not None:
            match event:
                case Answered(waiters, result):
                    self._deliver(waiters, result)
                case Failed(waiters, error):
                    self._deliver(waiters, error)
                case Changed(what):
                    self._changed(what)
                case Connect(conn_id, addr):
                    self._start_connection(conn_id, addr)
                case Close(conn_id):
                    self._stop_connection(conn_id)
                case Decode(job):
                    self._start_decoding(job)
        for conn_id, data in session.data_to_send():
            self._write(conn_id, data)
        if session.statfs_gathering and not self._gathering and self._nursery is not None:
            self._gathering = True
            self._nursery.start_soon(self._guarded, self._gather)
        due = session.next_timeout()
        if due is not None and due < self._armed:
            self._armed = due
            self._timer.deadline = due

    def _start_decoding(self, job: DecodeJob) -> None:
        if self._nursery is None:
            raise SessionLost("the client is not running")
        self._nursery.start_soon(self._guarded, self._decode, job)

    async def _decode(self, job: DecodeJob) -> None:
        try:
            await trio.to_thread.run_sync(job.run, abandon_on_cancel=True)
        except Exception:
            log.exception("a map cannot be decoded")
            job.failed()
        self._session.decoded(self.now())
        self._flush()

    def _publish(self) -> None:
        self._generation += 1
        if self._watchers:
            self._watchers.unpark_all()

    async def _gather(self) -> None:
        """Wait for more callers of one statfs: it is sent after a few rounds of the loop without a new caller."""
        quiet, seen = 0, self._session.statfs_gathering
        try:
            while quiet < _GATHER_ROUNDS:
                await trio.lowlevel.checkpoint()
                now = self._session.statfs_gathering
                quiet, seen = (quiet + 1, seen) if now == seen else (0, now)
        finally:
            self._gathering = False
        self._session.statfs_gathered(self.now())
        self._flush()

    def _changed(self, what: frozenset[str]) -> None:
        self._publish()
        if self._remember is not None and "monmap" in what:
            self._save_monmap(self._remember)
        if "session" not in what:
            return
        view = self.snapshot()
        if view.state is State.OPEN:
            self._hunting = trio.Event()
        elif not self._hunting.is_set():
            self._hunting.set()
        for told in view.told:
            if told.number > self._told:
                self._told = told.number
                if view.state is not State.REFUSED:  # that state's line has it
                    stops_df = view.problem or "statfs" in view.denied
                    log.log(logging.ERROR if stops_df else logging.INFO, "%s", told.sentence)
        if view.problem != self._problem:
            if not view.problem:
                log.info("df answers again, after: %s", self._problem)
            self._problem = view.problem
        if view.state is not self._state:
            self._state = view.state
            self._log_state(view)

    def _save_monmap(self, remember: Remembered) -> None:
        view = self.snapshot()
        record = view.maps.get("monmap")
        if record is not None:
            remember.open()
            remember.save(record.blob)

    def _log_state(self, view: Snapshot) -> None:
        match view.state:
            case State.OPEN:
                log.info("session with monitor %s at %s, %s mode", view.mon, view.addr, view.mode)
            case State.HUNTING:
                log.info("looking for another monitor: %s", view.last_error or f"{view.mon} does not answer")
            case State.REFUSED:
                log.error("the monitors refuse us: %s", view.last_error)
            case _:
                log.debug("session is %s", view.state)

    def _start_connection(self, conn_id: ConnectionId, addr: EntityAddr) -> None:
        if self._nursery is None:
            raise SessionLost("the client is not running")
        scope = trio.CancelScope()
        self._scopes[conn_id] = scope
        self._nursery.start_soon(self._run_connection, conn_id, addr, scope)

    def _stop_connection(self, conn_id: ConnectionId) -> None:
        wire = self._wires.pop(conn_id, None)
        scope = self._scopes.pop(conn_id, None)
        if wire is not None:
            wire.scope.cancel()
            trio.lowlevel.notify_closing(wire.sock)
            wire.sock.close()
        if scope is not None:
            scope.cancel()

    def _write(self, conn_id: ConnectionId, data: bytes) -> None:
        wire = self._wires.get(conn_id)
        if wire is None:
            return
        if wire.backlog:
            wire.backlog += data
            if len(wire.backlog) > _MAX_BACKLOG:
                wire.backlog.clear()
                self._lost(conn_id, "the monitor does not read what it is sent")
            return
        try:
            sent = wire.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as exc:
            self._lost(conn_id, _reason(exc))
            return
        if sent < len(data):
            wire.backlog += memoryview(data)[sent:]
            if self._nursery is not None:
                self._nursery.start_soon(self._guarded, self._drain, conn_id, wire)

    async def _drain(self, conn_id: ConnectionId, wire: _Wire) -> None:
        """Send what the socket did not take at once; it may come to that more than once in the life of a connection."""
        with trio.CancelScope() as wire.scope:
            try:
                while wire.backlog and wire.sock.fileno() >= 0:  # trio must never wait for a closed one
                    await trio.lowlevel.wait_writable(wire.sock)
                    try:
                        sent = wire.sock.send(wire.backlog)
                    except BlockingIOError:
                        continue  # not writable after all
                    del wire.backlog[:sent]
            except trio.ClosedResourceError:
                return
            except OSError as exc:
                self._lost(conn_id, _reason(exc))

    def _lost(self, conn_id: ConnectionId, reason: str) -> None:
        """A socket ended; not from inside `_flush`, whose loop goes on."""
        if self._nursery is not None:
            self._nursery.start_soon(self._guarded, self._report_closed, conn_id, reason)

    async def _report_closed(self, conn_id: ConnectionId, reason: str) -> None:
        self._session.closed(conn_id, reason, self.now())
        self._flush()

    # tasks

    async def _run_connection(self, conn_id: ConnectionId, addr: EntityAddr, scope: trio.CancelScope) -> None:
        """Connect and read until the end.  Any failure ends this connection only."""
        with scope:
            try:
                reason = await self._connection_life(conn_id, addr)
            except trio.ClosedResourceError:
                return  # we closed it
            except OSError as exc:
                reason = _reason(exc)
            except Exception:
                log.exception("connection to %s", addr)
                reason = "internal error, see log"
            self._session.closed(conn_id, reason, self.now())
            self._flush()

    async def _connection_life(self, conn_id: ConnectionId, addr: EntityAddr) -> str:
        wire = _Wire(await _connect(addr, self._local))
        if conn_id not in self._scopes:
            wire.sock.close()
            return "closed"
        self._wires[conn_id] = wire
        self._session.connected(conn_id, self.now())
        self._flush()
        while True:
            if wire.sock.fileno() < 0:  # closed within the flush; trio must never wait for a closed one
                raise trio.ClosedResourceError
            await trio.lowlevel.wait_readable(wire.sock)
            if not self._receive(conn_id, wire):
                return "the monitor closed the connection"

    def _receive(self, conn_id: ConnectionId, wire: _Wire) -> bool:
        """Pass received bytes to the session; return False at the end of the stream.  Raises OSError."""
        try:
            n = wire.sock.recv_into(wire.received)
        except BlockingIOError:
            return True
        if not n:
            return False
        self._session.receive_data(conn_id, wire.received[:n], self.now())
        self._flush()
        return True

    async def _run_timer(self) -> None:
        while True:
            due = self._session.next_timeout()
            self._armed = float("inf") if due is None else due
            with trio.CancelScope(deadline=self._armed) as self._timer:
                await trio.sleep_forever()
            self._session.handle_timeout(self.now())
            self._flush()

    async def _run_resolver(self) -> None:
        """Resolve the configured monitors at the start and again while hunting."""
        while True:
            await self._hunting.wait()
            try:
                candidates = tuple(await self._resolve())
                self._resolve_error = ""
                self._session.set_candidates(candidates, self.now())
                self._flush()
            except CephMonFSError as exc:
                if str(exc) != self._resolve_error:
                    log.warning("%s", exc)
                self._resolve_error = str(exc)
                if isinstance(exc, ConfigError) and exc.status == 1:
                    self._hopeless = exc
                    self._publish()
            await trio.sleep(_RESOLVE_EVERY_S)

    async def _guarded(self, task: Callable[..., Awaitable[None]], *args: object) -> None:
        """A task that fails costs what it was about, and not the mount."""
        try:
            await task(*args)
        except Exception:
            log.exception("%s failed", task.__name__)

    async def _kept_alive(self, task: Callable[[], Awaitable[None]]) -> None:
        """Restart a task that fails; the reason is in the log."""
        while True:
            try:
                await task()
            except Exception:
                log.exception("%s failed and is restarted", task.__name__)
            await trio.sleep(_RESTART_AFTER_S)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[MonClient]:
        """Run inside this block; on leaving it every connection is closed."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            nursery.start_soon(self._kept_alive, self._run_timer)
            nursery.start_soon(self._kept_alive, self._run_resolver)
            try:
                yield self
            finally:
                self._session.shut_down(self.now())
                self._flush()
                self._nursery = None
                nursery.cancel_scope.cancel()


async def _connect(addr: EntityAddr, local: str | None = None) -> socket.socket:
    """Open a TCP connection from the address `local`, with TCP_NODELAY.  Raises OSError."""
    family = socket.AF_INET6 if addr.family == 6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if local is not None and (":" in local) == (family == socket.AF_INET6):
            _bind(sock, local)
        error = sock.connect_ex((addr.host, addr.port))
        if error == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, local: str) -> None:
    """Bind the address; the kernel chooses the port at connect, so that many connections do not use up the ports."""
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((local, 0))
    except OSError as exc:
        raise OSError(exc.errno, f"{exc.strerror} (ip={local})") from exc


def _reason(exc: OSError) -> str:
    return (exc.strerror or str(exc)).lower()


@asynccontextmanager
async def open_client(
    config: SessionConfig, resolve: Resolver, *, remember: Remembered | None = None, local: str | None = None
) -> AsyncIterator[MonClient]:
    """Open a client that hunts, keeps a session and answers inside the block.  `local`: the address to connect from."""
    async with MonClient(config, resolve, remember=remember, local=local).running() as client:
        yield client
