"""Changes 4 KiB at random places of a few files, so many times a second for so long; then prints how many
changes were made, and the median, 99th percentile and maximum of what a call took, in microseconds.
paced_writes.py DIRECTORY PER_SECOND SECONDS [sync]    sync: each change is made durable, and that is what is timed"""
import os
import random
import sys
import time

directory, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
durable = sys.argv[4:] == ["sync"]
BLOCKS, BLOCK = 4096, 4096
files = [os.open(f"{directory}/file{i}", os.O_RDWR | os.O_CREAT) for i in range(4)]
for file in files:
    os.ftruncate(file, BLOCKS * BLOCK)
data, took = os.urandom(BLOCK), []
start = time.perf_counter()
while time.perf_counter() - start < seconds:
    pause = start + len(took) / rate - time.perf_counter()
    if pause > 0:
        time.sleep(pause)
    file = random.choice(files)
    before = time.perf_counter()
    os.pwrite(file, data, random.randrange(BLOCKS) * BLOCK)
    if durable:
        before = time.perf_counter()
        os.fdatasync(file)
    took.append((time.perf_counter() - before) * 1e6)
took.sort()
print(len(took), *(round(took[int(len(took) * part)]) for part in (0.5, 0.99)), round(took[-1]))
