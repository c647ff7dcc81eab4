"""Changes files below the current directory, one thing after the other, until killed.

soak/writer.py SEED

What it tries is decided by the seed; what comes of it also depends on the others who work in the same tree.
"""
import mmap, os, random, shutil, sys, time

chance = random.Random(sys.argv[1])
logs = []


def directory(depth=2):
    return "/".join(["."] + chance.choices(["d0", "d1", "d2"], k=chance.randrange(depth + 1)))


def path():
    return f"{directory()}/{chance.choice('abcdefghijkl')}"


def data():
    return chance.randbytes(chance.randrange(400_000 if chance.random() < 0.02 else 9_000))


def write(flags, at=None):
    # A pipe without a reader is not to be waited for.
    file = os.open(path(), flags | os.O_NONBLOCK, 0o644)
    try:
        if at is None:
            os.write(file, data())
        else:
            size = os.fstat(file).st_size
            for _ in range(chance.randrange(1, 4)):
                os.pwrite(file, data(), chance.randrange(size + 1))
    finally:
        os.close(file)


def append():
    write(os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def overwrite():
    write(os.O_WRONLY, at="somewhere")


def rewrite():
    write(os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def truncate():
    os.truncate(path(), chance.randrange(300_000 if chance.random() < 0.1 else 9_000))


def replace():
    target = path()
    temporary = f"{target}.{os.getpid()}"
    with open(temporary, "wb") as file:
        file.write(data())
        if chance.random() < 0.3:
            os.fsync(file.fileno())
    os.rename(temporary, target)


def log():
    if len(logs) == 3:
        os.close(logs.pop(chance.randrange(3)))
    logs.append(os.open(path(), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK, 0o644))


def go_on():
    os.write(chance.choice(logs), data()[:300]) if logs else log()


def map_it():
    with open(path(), "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        for _ in range(3):
            at = chance.randrange(len(mapped))
            mapped[at : at + 9] = chance.randbytes(len(mapped[at : at + 9]))


def attributes():
    target = path()
    os.chmod(target, chance.choice([0o600, 0o644, 0o755]))
    if chance.random() < 0.5:
        os.setxattr(target, "user.soak", chance.randbytes(20))
    if chance.random() < 0.5:
        os.utime(target, ns=(0, chance.randrange(10**18)))


def remove_tree():
    if chance.random() < 0.2:
        shutil.rmtree(f"{directory(1)}/{chance.choice(['d0', 'd1', 'd2'])}", ignore_errors=True)


WORK = {
    append: 8, overwrite: 8, rewrite: 4, truncate: 3, replace: 6, log: 2, go_on: 12, map_it: 1,
    attributes: 2, remove_tree: 1,
    lambda: os.rename(path(), path()): 4,
    lambda: os.rename(directory(), directory()): 1,
    lambda: os.unlink(path()): 3,
    lambda: os.link(path(), path()): 2,
    lambda: os.symlink("a target", path()): 1,
    lambda: os.makedirs(directory(), exist_ok=True): 3,
    lambda: os.mkfifo(path()): 0.2,
}
while True:
    try:
        chance.choices(list(WORK), list(WORK.values()))[0]()
    except (OSError, ValueError):
        # Not there, there already, a pipe without a reader, an empty file to be mapped.
        pass
    time.sleep(chance.random() * 0.004)
