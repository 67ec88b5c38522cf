"""Frames on their way into a folder, as cameras, rsync and slow networks bring them."""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PIECES = 5


def rename(source: Path, folder: Path) -> Iterator[None]:
    """Written under another name, then renamed."""
    beside = folder / f"{source.name}.part"
    shutil.copyfile(source, beside)
    yield
    beside.rename(folder / source.name)


def rsync(source: Path, folder: Path) -> Iterator[None]:
    """Written under a hidden name, half of it for a while, then renamed."""
    beside = folder / f".{source.name}.a1B2c3"
    content = source.read_bytes()
    beside.write_bytes(content[: len(content) // 2])
    yield
    beside.write_bytes(content)
    os.utime(beside, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))
    beside.rename(folder / source.name)


def in_place(source: Path, folder: Path) -> Iterator[None]:
    """Grows under its own name: the header first, the pixels later."""
    content = source.read_bytes()
    edges = [0, 100, 5760, *(len(content) * i // PIECES for i in range(1, PIECES + 1))]
    with (folder / source.name).open("wb") as file:
        for start, stop in itertools.pairwise(edges):
            file.write(content[min(start, stop) : stop] if stop > file.tell() else b"")
            file.flush()
            yield
        file.seek(0)
        file.write(content)
        file.truncate()


def set_aside(source: Path, folder: Path) -> Iterator[None]:
    """Has its size from the start, zeros where pixels will be."""
    content = source.read_bytes()
    with (folder / source.name).open("wb") as file:
        file.write(content[:5760])
        file.truncate(len(content))
        for start in range(0, len(content), len(content) // PIECES):
            file.seek(start)
            file.write(content[start : start + len(content) // PIECES])
            file.flush()
            yield


def never(source: Path, folder: Path) -> Iterator[None]:
    """Half of it comes, the rest never."""
    content = source.read_bytes()
    (folder / source.name).write_bytes(content[: len(content) // 2])
    yield


WAYS: dict[str, Callable[[Path, Path], Iterator[None]]] = {
    "rename": rename,
    "rsync": rsync,
    "in_place": in_place,
    "set_aside": set_aside,
}


def whole(source: Path, folder: Path, way: str = "rename") -> None:
    """Bring a file at once."""
    for _ in WAYS[way](source, folder):
        pass


def bring(sources: list[Path], folder: Path, *, every_s: float, seed: int, abreast: int = 6) -> None:
    """Bring files in ways chosen at random, some at a time: they end in another order than they began."""
    rng, waiting, under_way = random.Random(seed), list(sources), []
    while waiting or under_way:
        while waiting and len(under_way) < abreast:
            way = WAYS[rng.choice(sorted(WAYS))]
            under_way.append(way(waiting.pop(0), folder))
        each = rng.choice(under_way)
        if next(each, StopIteration) is StopIteration:
            under_way.remove(each)
        time.sleep(every_s)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    files = sorted(path for path in given.source.iterdir() if ".fit" in path.name)
    bring(files, given.folder, every_s=given.every, seed=given.seed)


if __name__ == "__main__":
    sys.exit(main())
