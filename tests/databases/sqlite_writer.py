"""Transfers money between accounts of an SQLite database, and notes what was committed.

sqlite_writer.py DATABASE NOTES WRITER SECONDS JOURNAL SYNCHRONOUS SEED REST

Between transactions it rests for up to REST milliseconds.
"""
import os, random, sqlite3, sys, time

database, notes, writer, seconds, journal, synchronous, seed, rest = sys.argv[1:]
writer, end, chance = int(writer), time.time() + float(seconds), random.Random(f"{seed} {writer}")
connection = sqlite3.connect(database, timeout=60, isolation_level=None)
connection.execute(f"PRAGMA journal_mode = {journal}").fetchall()
connection.execute(f"PRAGMA synchronous = {synchronous}")
# So small that large transactions write pages before their commit.
connection.execute("PRAGMA cache_size = 30")
accounts, = connection.execute("SELECT count(*) FROM account").fetchone()


def transfer(number, part, parts):
    payer, payee = chance.sample(range(accounts), 2)
    amount = chance.randrange(100)
    connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, payer))
    connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, payee))
    connection.execute(
        "INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (writer, number, part, parts, payer, payee, amount, chance.randbytes(chance.randrange(300))),
    )


# Line by line: the writer may be killed.
file, number = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 0
while time.time() < end:
    number += 1
    parts = 60 if number % 23 == 0 else 1
    began = time.time_ns()
    connection.execute("BEGIN IMMEDIATE")
    for part in range(parts):
        transfer(number, part, parts)
    connection.execute("COMMIT")
    os.write(file, f"{number} {began} {time.time_ns()}\n".encode())
    time.sleep(chance.random() * float(rest) / 1000)
