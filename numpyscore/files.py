"""Files that are written whole or not at all."""

import contextlib
import os
import secrets


def write_whole(path, content):
    """Put `content` (bytes) at `path`: afterwards the file there is the new one, or, after any failure, the old one.

    A temporary file in the same folder is written and flushed to the disk, takes the old one's place in one step of the file
    system, and the folder is flushed too. A kill or a full disk in between leaves the old file as it was (and perhaps a
    temporary one, whose name ends in .tmp).

    Raises
    ------
    OSError
        With the path in it, if the disk is full, the folder read-only, or a folder stands at `path`.
    """
    path = os.fsdecode(path)
    temporary = f"{path}.{secrets.token_hex(4)}.tmp"
    try:
        with open(temporary, "xb") as file:  # with the permissions of any new file
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(os.path.dirname(path) or ".")
    except OSError as error:
        _remove(temporary)
        raise OSError(error.errno, error.strerror or str(error), path) from None
    except BaseException:
        _remove(temporary)
        raise


def _remove(path):
    with contextlib.suppress(OSError):
        os.unlink(path)


def _flush_folder(folder):
    """The new name on the disk too, where the system lets a folder be opened."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
