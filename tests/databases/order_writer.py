"""Writes to several files in an order that a reader may rely on.

order_writer.py NOTES WRITER SECONDS REST

Between steps it rests for up to REST milliseconds.

Step I writes I into `first`, then into a block of a larger file in another directory, then appends it to a
third, then renames a file to `step-I`. Whenever this is stopped, none of these may be ahead of one before it,
and none more than a step behind.
"""
import os, random, struct, sys, time

notes, writer, seconds, rest = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4]) / 1000
top = f"order-{writer}"
first = os.open(f"{top}/first", os.O_WRONLY)
block = os.open(f"{top}/there/block", os.O_WRONLY)
third = os.open(f"{top}/third", os.O_WRONLY | os.O_APPEND)
end, step, lines = time.time() + seconds, 0, []
while time.time() < end:
    step += 1
    began = time.time_ns()
    number = struct.pack("<Q", step)
    os.pwrite(first, number, 0)
    os.pwrite(block, number * 2048, 4096 * (step % 7))
    os.write(third, number)
    os.rename(f"{top}/step-{step - 1}", f"{top}/step-{step}")
    lines.append(f"{step} {began} {time.time_ns()}\n")
    time.sleep(random.random() * rest)
with open(notes, "w") as file:
    file.writelines(lines)
