"""The engine's state as one file: a tree of JSON values with NumPy arrays at its leaves, in an .npz without pickle.

Written to a temporary file, synced and renamed: a reader sees the old state or the new one, never half of it.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FORMAT = 1
TREE = "tree"
ARRAY = "__array__"
Arrays = dict[str, npt.NDArray[Any]]


class StateError(Exception):
    """A state file that cannot be read; says why."""


def save(path: Path, state: Mapping[str, Any]) -> int:
    """Write a state, replacing the file; its size in bytes.

    Raises: OSError (disk full, ...), TypeError naming the place of a value that is neither JSON nor an array.
    """
    arrays: Arrays = {}
    tree = _packed(state, "state", arrays)
    text = json.dumps({"format": FORMAT, "state": tree}, ensure_ascii=False, separators=(",", ":"))
    arrays[TREE] = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        size = temporary.stat().st_size
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename, too
    finally:
        os.close(folder)
    return size


def load(path: Path) -> dict[str, Any] | None:
    """The state of a file, None if there is no file. Raises: StateError if it is damaged or of another format."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            read = json.loads(arrays[TREE].tobytes().decode("utf-8", "surrogatepass"))
            if read["format"] != FORMAT:
                raise StateError(f"{path} has format {read['format']}, not {FORMAT}")
            state = _unpacked(read["state"], arrays)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise StateError(f"{path} is damaged: {error}") from None
    if not isinstance(state, dict):
        raise StateError(f"{path} holds no state")
    return state


def _packed(value: Any, at: str, arrays: Arrays) -> Any:
    if value is None or isinstance(value, str | int | float | bool):  # most are
        return value
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError(f"{at}: an array of objects cannot be saved without pickle")
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_packed(item, f"{at}[{index}]", arrays) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{at}: keys must be texts, however: {key!r}")
        return {key: _packed(item, f"{at}.{key}", arrays) for key, item in value.items()}
    raise TypeError(f"{at}: a {type(value).__name__} cannot be saved")


def _unpacked(value: Any, arrays: Mapping[str, npt.NDArray[Any]]) -> Any:
    if isinstance(value, dict):
        name = value.get(ARRAY)
        return arrays[name] if name is not None and len(value) == 1 else {key: _unpacked(item, arrays) for key, item in value.items()}
    return [_unpacked(item, arrays) for item in value] if isinstance(value, list) else value
