"""What is no regular file is refused at once, and no more is read than is expected."""

import os
import socket

import pytest

from icshift import regular


def pipe(path):
    os.mkfifo(path)


def folder(path):
    path.mkdir()


def listening(path):
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("make", "kind"), [(pipe, "a pipe"), (folder, "a directory"), (listening, "a socket"), (device, "a device")]
)
def test_what_is_no_file_is_refused_without_waiting(tmp_path, make, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # A socket's path must be short.
    path = type(tmp_path)("it")
    make(path)
    for read in (regular.opened, lambda path: regular.content(path, 10)):
        with pytest.raises(OSError, match=f"is {kind}, expected a regular file"):
            read(path)


def test_a_link_to_a_file_is_the_file(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert regular.content(tmp_path / "link", 3) == b"abc"
    with regular.opened(tmp_path / "link") as file:
        assert regular.size_of(file) == 3


def test_more_than_is_expected_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(b"abcd")
    with pytest.raises(OSError, match="has more than 3 bytes"):
        regular.content(tmp_path / "file", 3)


def test_what_is_not_there_is_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        regular.opened(tmp_path / "file")


def test_json_is_read_in_bounds():
    assert regular.parsed(b'{"a": [1, 2]}', 4) == {"a": [1, 2]}
    for content, told in ((b"[1,2,3,4,5]", "more than 4 values"), (b"[" * 10**5 + b"]" * 10**5, "too deeply")):
        with pytest.raises(ValueError, match=told):
            regular.parsed(content, 4 if b"," in content else 10**6)
    for content in (b"{", b"\xff", b"", b"9" * 5000):
        with pytest.raises(ValueError):  # noqa: PT011
            regular.parsed(content, 100)
