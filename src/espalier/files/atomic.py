"""Writing that never harms what was there: write aside, sync, rename."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from espalier.errors import FileError


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes the place of ``path`` when the block ends well.

    Whatever goes wrong inside, a full disk or Ctrl-C, the old file stays and the new one goes.

    Raises:
        FileError: the file cannot be written.
    """
    path = path.resolve()
    aside = _aside(path)
    with _writing(path):
        try:
            with aside.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
            _sync_folder(path.parent)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Make a folder that takes the place of ``path`` when the block ends well.

    Raises:
        FileError: the folder cannot be written.
    """
    path = path.resolve()
    aside, old = _aside(path), _aside(path)
    with _writing(path):
        try:
            aside.mkdir()
            yield aside
            for file in aside.iterdir():
                _sync(file)
            _sync_folder(aside)
            with _set_aside(path, old):
                aside.rename(path)
            _sync_folder(path.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _set_aside(path: Path, old: Path) -> Iterator[None]:
    """Move a folder away for the block, and back should the block fail."""
    try:
        with suppress(FileNotFoundError):
            path.rename(old)
        yield
    except BaseException:
        if old.exists() and not path.exists():
            old.rename(path)
        raise


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FileError(
            f"cannot write {path}: {error.strerror or error}; nothing was changed"
        ) from error


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(path: Path) -> None:
    # Some file systems cannot sync a folder; the rename itself is done by then.
    with suppress(OSError):
        _sync(path)
