# The order of a catalogue's changes: a snapshot sees none half done, one compaction runs at a time, and a fork waits
# for both, so that the child gets a catalogue whose locks nobody holds.

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future


class Changes:
    """Runs a catalogue's compactions, in the calling thread or beside it.

    Parameters
    ----------
    compact : callable
        Compacts; called with no argument, never twice at once.

    Attributes
    ----------
    lock : threading.RLock
        Held by who changes the catalogue, and by who must see it unchanged for a while. Compactions do not hold it.
    """

    def __init__(self, compact: Callable[[], None]) -> None:
        self._compact = compact
        self.start_afresh()
        _FORKS.watch(self)

    def compact(self) -> None:
        """Compact in this thread, or wait for the compaction that runs; raises what it raises."""
        future, is_new = self._claim()
        if is_new:
            self._work(future)
        future.result()

    def start_compaction(self) -> Future[None]:
        """Compact in a thread of its own.

        Returns
        -------
        concurrent.futures.Future
            Done when the compaction is; that of the one that runs already, if one does. It cannot be cancelled. The
            interpreter waits for the thread before it exits.
        """
        future, is_new = self._claim()
        if is_new:
            threading.Thread(target=self._work, args=(future,), name="dpr-compaction").start()
        return future

    def start_afresh(self) -> None:
        """Forget who holds what: in a child process, those threads do not exist."""
        # Reentrant, for a fork may come from a signal handler while this thread changes the catalogue.
        self.lock = threading.RLock()
        self._claiming = threading.RLock()
        self._running: Future[None] | None = None

    def pause(self) -> None:
        """Wait until nothing changes, and keep it so until `resume`."""
        self.lock.acquire()
        try:
            self._claiming.acquire()
            while (running := self._running) is not None:
                self._claiming.release()
                running.exception()
                self._claiming.acquire()
        except BaseException:  # an interrupt while waiting
            self.lock.release()
            raise

    def resume(self) -> None:
        """End a `pause`."""
        self._claiming.release()
        self.lock.release()

    def _claim(self) -> tuple[Future[None], bool]:
        """Return the running compaction, or a new one that the caller must run."""
        with self._claiming:
            if self._running is not None:
                return self._running, False
            self._running = Future()
            self._running.set_running_or_notify_cancel()
            return self._running, True

    def _work(self, future: Future[None]) -> None:
        try:
            self._compact()
        except BaseException as error:
            self._running = None
            future.set_exception(error)
        else:
            self._running = None
            future.set_result(None)


class _Forks:
    """Pauses all catalogues while the process forks."""

    def __init__(self) -> None:
        self._all: weakref.WeakSet[Changes] = weakref.WeakSet()
        self._forking = threading.RLock()  # two threads that fork at once would pause in two orders
        self._paused: list[Changes] = []
        os.register_at_fork(
            before=self._before, after_in_parent=self._in_parent, after_in_child=self._in_child
        )

    def watch(self, changes: Changes) -> None:
        self._all.add(changes)

    def _before(self) -> None:
        self._forking.acquire()
        for changes in list(self._all):
            changes.pause()
            self._paused.append(changes)

    def _in_parent(self) -> None:
        for changes in self._paused:
            changes.resume()
        self._paused = []
        self._forking.release()

    def _in_child(self) -> None:
        self._forking = threading.RLock()
        self._paused = []
        for changes in self._all:
            changes.start_afresh()


_FORKS = _Forks()
