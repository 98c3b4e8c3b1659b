#!/usr/bin/env python3
"""Proves: whoever meets in one store, nothing that was said to be saved is lost, a run stays one line, and no reader sees a changed byte.

    contenders.py BIN WORK ROUNDS KILLS SEED PLACE [PYTHON]

BIN: where trainer, checker and reader are; PYTHON: one with the stock safetensors package. Prints `ok - ` and `not ok - ` lines.
"""
import os
import random
import shutil
import signal
import subprocess
import sys
import time

BIN, WORK, ROUNDS, KILLS, SEED, PLACE = *sys.argv[1:3], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), sys.argv[6]
PYTHON = sys.argv[7] if len(sys.argv) > 7 else None
DONE, LOCKED, FENCED = 0, 4, 5
PATIENCE = 20  # rounds more
# One folder, seen in two places where there are two hosts: "ONE:OTHER".
ONE, OTHER = os.environ.get("CRASH_STORES", f"{WORK}/store:{WORK}/store").split(":")
RUN, FROM_ELSEWHERE, DIARY = f"{ONE}/run", f"{OTHER}/run", f"{WORK}/diary"
rng = random.Random(SEED)
all_well = True
started = []  # processes of the case that runs


class Wrong(Exception):
    pass


def start(*command):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    started.append(process)
    return process


def train(operations, run=RUN, diary=DIARY):
    return start(f"{BIN}/trainer", run, diary, *operations.split())


def said(process, want=(DONE,)):
    """Waits for its end, which must be one of those wanted."""
    try:
        text = process.communicate(timeout=120)[0].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        raise Wrong(f"{' '.join(process.args)} does not end") from None
    if process.returncode not in want:
        raise Wrong(f"{' '.join(process.args)} ended with {process.returncode}: {text}")
    return process.returncode, text


def end_all():
    while started:
        process = started.pop()
        if process.poll() is None:
            process.kill()
            process.communicate()


def check(*words, run=RUN, diary=DIARY):
    found = subprocess.run([f"{BIN}/checker", run, diary, *words], capture_output=True, text=True, timeout=300)
    if found.returncode:
        raise Wrong(found.stdout + found.stderr)


def fresh(operations=None):
    for folder in (WORK, ONE):
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True) if os.path.isdir(f"{folder}/{name}") else os.unlink(f"{folder}/{name}")
        os.makedirs(folder, exist_ok=True)
    if operations:
        said(train(operations))


def pause(most):
    time.sleep(rng.uniform(0, most))


def case(name, rounds, meeting=None):
    """Repeats what it decorates, and tells how it went. meeting: what it must return at least once, for else nobody has met anybody; it goes on until then."""

    def run(function):
        global all_well
        failures, notes, number = 0, {}, 0
        while number < rounds or (meeting and meeting not in notes and number < rounds + PATIENCE):
            number += 1
            try:
                note = function()
                notes[note] = notes.get(note, 0) + 1
            except Wrong as wrong:
                failures += 1
                if failures <= 3:
                    print(f"# {name}, round {number}: " + str(wrong).strip().replace("\n", "\n#   "))
            finally:
                end_all()
        well = not failures and (not meeting or meeting in notes)
        all_well = all_well and well
        told = ", ".join(f"{count} x {note}" for note, count in sorted(notes.items()) if note)
        print(f"{'ok' if well else 'not ok'} - crash: {PLACE}: {name}: {number} cases, {failures} failures{': ' + told if told else ''}", flush=True)

    return run


@case("two start together", ROUNDS, "one was refused")
def started_together():
    fresh(rng.choice([None, "open resume save:2"]))
    both = [train("open way:1 resume save:3"), train("open way:2 resume save:3", FROM_ELSEWHERE)]
    ends = [said(process, (DONE, LOCKED))[0] for process in both]
    if ends == [LOCKED, LOCKED]:
        raise Wrong("neither got it")
    check("one-line", "all-said")
    return "one was refused" if LOCKED in ends else "one after the other"


@case("two take the run from each other", ROUNDS, "one was fenced")
def taken_over():
    fresh(rng.choice([None, "open resume save:2"]))
    both = []
    for way, run in ((1, RUN), (2, FROM_ELSEWHERE)):
        both.append(train(f"take-over way:{way} resume save:6", run))
        pause(0.05)
    ends = [said(process, (DONE, FENCED))[0] for process in both]
    if ends == [FENCED, FENCED]:
        raise Wrong("both are fenced")
    check("one-line", "all-said")
    return "one was fenced" if FENCED in ends else "one after the other"


@case("one is stopped, and wakes when another has the run", ROUNDS)
def stopped():
    fresh("open resume save")
    sleeper = train("open way:1 resume say:ready save:0")
    sleeper.stdout.readline()
    pause(0.05)
    sleeper.send_signal(signal.SIGSTOP)
    said(train("take-over way:2 resume save:2", FROM_ELSEWHERE))
    sleeper.send_signal(signal.SIGCONT)
    said(sleeper, (FENCED,))
    check("one-line", "all-said")


@case("requeued: the old one ends as the new one starts", ROUNDS)
def requeued():
    fresh("open resume save")
    old = train(f"open way:1 resume save:{rng.randrange(1, 8)}")
    pause(0.08)
    new = train("try-again open way:2 resume save:2", FROM_ELSEWHERE)
    said(old, (DONE, LOCKED))  # the new one may have been first
    said(new)
    check("one-line", "all-said")


@case("two pruners beside a trainer", ROUNDS)
def pruned():
    fresh("open resume save:6 tag:2:keeper")
    trainer = train("open resume save:8")
    pruners = [train("keep:3 keep:2 keep:2 keep:2", run, f"{WORK}/other") for run in (RUN, FROM_ELSEWHERE)]
    for process in (trainer, *pruners):
        said(process)
    with open(DIARY, "a", encoding="ascii") as diary:  # what the pruners were told
        diary.write("keeping 2\n")
    check("one-line", "all-said")


def begin_reading(seconds):
    """The readers that this machine has, and their commands."""
    commands = [[f"{BIN}/reader", RUN, str(seconds)]] * 2
    if PYTHON:
        commands.append([PYTHON, "-B", os.path.join(os.path.dirname(__file__), "stock_reader.py"), RUN, str(seconds)])
    return [start(*command) for command in commands]


@case("readers while all that may go is removed", max(1, ROUNDS // 10))
def read_meanwhile():
    fresh("open resume save:8")
    readers = begin_reading(3)
    trainer = train("open:4 resume save:0")
    while any(reader.poll() is None for reader in readers):
        train("keep:2", FROM_ELSEWHERE, f"{WORK}/other").wait()
        newest = sorted(int(name.split("-")[1]) for name in os.listdir(RUN) if name.startswith("checkpoint-") and "~" not in name)
        for step in newest[:-3]:
            train(f"rm:{step}", FROM_ELSEWHERE, f"{WORK}/other-{step}").wait()
    for reader in readers:
        said(reader)
    return "with the stock reader" if PYTHON else "without the stock reader"


@case(f"8 trainers in one store, killed {KILLS} times", 1)
def killed_at_random():
    fresh()
    places = [(f"{ONE}/run-{i}", f"{WORK}/diary-{i}") for i in range(8)]
    trainers = [train("open:3 nap:10 resume save:0", *place) for place in places]
    for _ in range(KILLS):
        pause(0.06)
        i = rng.randrange(8)
        trainers[i].kill()
        text = trainers[i].communicate()[0].decode()
        if trainers[i].returncode != -signal.SIGKILL:
            raise Wrong(f"run-{i} ended by itself: {text}")
        check("read-only", run=places[i][0], diary=places[i][1])
        trainers[i] = train("open:3 nap:10 resume save:0", *places[i])
    end_all()
    for run, diary in places:
        check(run=run, diary=diary)
    lines = sum(line.startswith("saved") for _, diary in places for line in open(diary, encoding="ascii"))
    return f"{lines} checkpoints"


shutil.rmtree(WORK, ignore_errors=True)
sys.exit(0 if all_well else 1)
