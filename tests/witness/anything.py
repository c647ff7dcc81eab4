"""Does anything that programs do to files, to a few names below the current directory: SEED OPERATIONS."""

import os
import random
import shutil
import sys

dice = random.Random(int(sys.argv[1]))
NAMES = "abcdef"


def path():
    return "/".join(dice.choice(NAMES) for _ in range(dice.randint(1, 3)))


def parent_of(name):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)


def write(name, sizes=(1, 100, 5_000, 70_000)):
    parent_of(name)
    with open(name, dice.choice(["wb", "ab", "r+b"])) as file:
        if dice.random() < 0.3:
            file.seek(dice.randint(0, 20_000))
        file.write(dice.randbytes(dice.choice(sizes)))
        if dice.random() < 0.2:
            file.flush()
            os.fsync(file.fileno())


def remove(name):
    if os.path.isdir(name) and not os.path.islink(name):
        shutil.rmtree(name, ignore_errors=True)
    else:
        os.unlink(name)


def rename(name, other):
    parent_of(other)
    os.rename(name, other)


def link(name, other):
    parent_of(other)
    dice.choice([os.link, os.symlink])(name, other)


def replace(name):
    parent_of(name)
    with open(name + ".new", "wb") as file:
        file.write(dice.randbytes(dice.choice([10, 3_000])))
    os.rename(name + ".new", name)


def resize(name):
    os.truncate(name, dice.randint(0, 30_000))


def describe(name):
    match dice.randrange(3):
        case 0:
            os.chmod(name, dice.choice([0o600, 0o644, 0o755]))
        case 1:
            os.utime(name, (1, dice.randint(1, 10**9)))
        case 2:
            os.setxattr(name, "user.x", dice.randbytes(5))


def fill(name):
    """As programs do that unpack, build and clean up: the numbers of what is removed go to what comes next."""
    if os.path.lexists(name):
        remove(name)
    os.makedirs(name)
    for number in range(dice.randint(1, 60)):
        write(f"{name}/{number}", (10,))
    match dice.randrange(4):
        case 0 | 1:
            remove(name)
        case 2:
            rename(name, path())


OPERATIONS = [
    (35, lambda: write(path())),
    (15, lambda: remove(path())),
    (15, lambda: rename(path(), path())),
    (5, lambda: link(path(), path())),
    (10, lambda: replace(path())),
    (4, lambda: resize(path())),
    (6, lambda: describe(path())),
    (8, lambda: fill(path())),
    (2, lambda: write(path(), (1 << 20, 9 << 20))),
]

weights, operations = zip(*OPERATIONS)
for operation in dice.choices(operations, weights, k=int(sys.argv[2])):
    try:
        operation()
    except OSError:
        # Two of us are at it, and most names are not there.
        pass
