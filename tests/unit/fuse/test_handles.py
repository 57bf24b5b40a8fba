"""What one user may hold open."""

from __future__ import annotations

import pytest

from cephmonfs.errors import TooManyOpen
from cephmonfs.files.tree import ROWS, Node
from cephmonfs.fuse import handles
from cephmonfs.fuse.handles import DirectoryHandle, Handle, Handles
from cephmonfs.fuse.renderings import Content, Rendering

NODE = Node(ROWS[0], ())
USER, OTHER, ROOT = 1000, 1001, 0


def opened(uid: int, content: Content | None = None) -> Handle:
    return Handle(NODE, 1, uid, 0.0, content=content)


def test_a_handle_is_found_until_it_is_closed() -> None:
    held = Handles()
    handle, directory = opened(USER, Content(b"x")), DirectoryHandle({}, USER)
    numbers = [held.add(handle), held.add(directory)]
    assert numbers[0] != numbers[1]
    assert held.files() == [handle]
    assert held.get(numbers[0]) is handle
    assert held.pop(numbers[0]) is handle
    assert held.get(numbers[0]) is None
    assert held.pop(numbers[0]) is None
    assert held.pop(numbers[1]) is directory
    assert not held._held


def test_so_many_files_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_MAX_OPEN", 3)
    held = Handles()
    numbers = [held.add(DirectoryHandle({}, USER)) for _ in range(3)]
    with pytest.raises(TooManyOpen):
        held.add(opened(USER))
    held.add(opened(OTHER))
    held.pop(numbers[0])
    held.add(opened(USER))


def test_contents_count_once_and_are_bounded_for_each_user_and_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_MAX_BYTES", 100)
    monkeypatch.setattr(handles, "_MAX_BYTES_OF_ALL", 150)
    monkeypatch.setattr(handles, "_ALWAYS", 10)
    held = Handles()
    content = Content(bytes(90))
    numbers = [held.add(opened(USER, content)) for _ in range(50)]
    with pytest.raises(TooManyOpen):
        held.add(opened(USER, Content(bytes(20))))
    with pytest.raises(TooManyOpen):
        held.add(opened(OTHER, Content(bytes(70))))
    held.add(opened(ROOT, Content(bytes(70))))
    for number in numbers:
        held.pop(number)
    held.add(opened(OTHER, Content(bytes(70))))


def test_one_large_file_can_always_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_MAX_BYTES", 100)
    held = Handles()
    held.add(opened(USER, Content(bytes(1000))))
    with pytest.raises(TooManyOpen):
        held.add(opened(USER, Content(b"x")))


def test_another_rendering_takes_the_place_of_the_first() -> None:
    held = Handles()
    handle = opened(USER, Content(bytes(90)))
    number = held.add(handle)
    held.show(handle, Rendering("key", 5.0, Content(bytes(10))))
    assert (handle.key, handle.mtime, len(handle.data), held._bytes) == ("key", 5.0, 10, 10)
    held.pop(number)
    assert held._bytes == 0


def test_a_large_rendering_takes_the_place_of_a_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """One who reads a large file again and again holds it once."""
    monkeypatch.setattr(handles, "_MAX_BYTES", 100)
    monkeypatch.setattr(handles, "_MAX_BYTES_OF_ALL", 100)
    held = Handles()
    handle = opened(USER, Content(bytes(90)))
    number = held.add(handle)
    for size in (90, 500, 80):
        held.show(handle, Rendering("key", 5.0, Content(bytes(size))))
        assert len(handle.data) == size
    held.add(opened(USER, Content(bytes(15))))
    with pytest.raises(TooManyOpen):
        held.show(handle, Rendering("key", 6.0, Content(bytes(90))))
    assert handle.data == b""  # what came before is not true any more
    held.pop(number)
    assert held._bytes == 15


def test_nothing_is_kept_of_a_user_who_was_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handles, "_MAX_BYTES_OF_ALL", 100)
    monkeypatch.setattr(handles, "_ALWAYS", 10)
    held = Handles()
    number = held.add(opened(USER, Content(bytes(90))))
    for uid in range(2000, 3000):
        with pytest.raises(TooManyOpen):
            held.add(opened(uid, Content(bytes(90))))
    held.pop(number)
    assert not held._held
    assert held._bytes == 0


@pytest.mark.parametrize("size", [10 << 20, handles._MAX_BYTES_OF_ALL - 10, handles._MAX_BYTES_OF_ALL + 10])
def test_what_one_user_holds_keeps_no_small_file_from_another(size: int) -> None:
    held = Handles()
    held.add(opened(USER, Content(bytes(size))))
    for uid in (OTHER, 5000, ROOT):
        for _ in range(100):
            held.add(opened(uid, Content(bytes(10_000))))
