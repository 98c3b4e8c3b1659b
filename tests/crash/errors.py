#!/usr/bin/env python3
"""Proves: whatever call about files fails once, is cut short, or finds the disk full, the trainer ends with one clear line or with what it said it had done; nothing
that was said to be saved is lost, and the next save works. A full store can be pruned. By the LD_PRELOAD shim faults.so, from outside.

    errors.py BIN WORK STRIDE      STRIDE: every so many calls, every so many times 4 KiB of room
"""
import errno
import os
import shutil
import subprocess
import sys

BIN, WORK, STRIDE = sys.argv[1], sys.argv[2], int(sys.argv[3])
CASE, BASE, HIT = f"{WORK}/case", f"{WORK}/base", f"{WORK}/hit"
DONE, FAILED, LOCKED = 0, 3, 4
well = True


class Wrong(Exception):
    pass


def train(operations, place=CASE, **faults):
    """Runs a trainer; its status and what it said."""
    environment = dict(os.environ)
    if faults:
        environment |= {"LD_PRELOAD": f"{BIN}/faults.so", "CRASH_BELOW": f"{place}/store", "CRASH_HIT": HIT}
        environment |= {f"CRASH_{name.upper()}": str(value) for name, value in faults.items()}
    ended = subprocess.run([f"{BIN}/trainer", f"{place}/store/run", f"{place}/diary", *operations.split()], env=environment, capture_output=True, text=True, timeout=120)
    return ended.returncode, ended.stdout + ended.stderr


def check(*words):
    found = subprocess.run([f"{BIN}/checker", f"{CASE}/store/run", f"{CASE}/diary", *words], capture_output=True, text=True, timeout=120)
    if found.returncode:
        raise Wrong(found.stdout + found.stderr)


def prepare(operations):
    shutil.rmtree(BASE, ignore_errors=True)
    os.makedirs(f"{BASE}/store")
    if operations and train(operations, BASE)[0]:
        sys.exit(f"not ok - crash: errors: '{operations}' fails by itself")


def fresh():
    shutil.rmtree(CASE, ignore_errors=True)
    subprocess.run(["cp", "-a", BASE, CASE], check=True)
    if os.path.exists(HIT):
        os.unlink(HIT)


def tell(name, cases, failures, note=""):
    global well
    for text in failures[:3]:
        print("# " + text.strip().replace("\n", "\n#   "))
    good = cases and not failures
    well = well and good
    print(f"{'ok' if good else 'not ok'} - crash: {name}: {cases} cases, {len(failures)} failures{note}", flush=True)


def ends_well(status, text, may_fail):
    """Done; or, if that may be, refused with one line that says why."""
    if status == DONE:
        return
    lines = [line for line in text.splitlines() if not line.startswith("message: ")]
    if not may_fail or status not in (FAILED, LOCKED) or len(lines) != 1:
        raise Wrong(f"ended with {status}: {text}")


STORIES = [
    ("saves", "open resume save:2", "open resume save save"),
    ("a new run", None, "open resume save"),
    ("pruning saves", "open resume save:3", "open:2 resume save:2"),
    ("going back", "open resume save:3", "open back:2 save"),
    ("rm, tag and keep", "open resume save:5", "rm:2 tag:3:keeper keep:2"),
    ("drop an item", "open resume save:3", "drop:2"),
]


def fail_each(kind, faults, may_fail):
    cases, failures, reported = 0, [], 0
    for number, (name, before, operations) in enumerate(STORIES):
        prepare(before)
        at = 1 + number % STRIDE
        while True:
            fresh()
            status, text = train(operations, at=at, **faults)
            if not os.path.exists(HIT):
                break
            cases += 1
            reported += status != DONE
            try:
                ends_well(status, text, may_fail)
                # what a disk does not give back is passed over, loudly; what this process lacks is no reason for that
                loud = "passed over" in text and faults.get("errno") != errno.EMFILE
                check(*([] if loud or "back" in operations else ["one-line"]))
            except Wrong as wrong:
                failures.append(f"{kind}, {name}: {open(HIT, encoding='ascii').read()}, call {at}: {wrong}\n{text}")
            at += STRIDE
    tell(kind, cases, failures, f"; {reported} were reported, {cases - reported} did not matter")


def fill_each(name, before, operations):
    """Room for nothing, for 4 KiB, for 8 KiB ... until it is enough. Then, as full as that: pruning."""
    cases, failures, room = 0, [], 0
    prepare(before)
    while True:
        fresh()
        status, text = train(operations, room=room)
        if status == DONE:
            break
        cases += 1
        try:
            ends_well(status, text, True)
            if "NOSPACE" not in text:
                raise Wrong(f"does not say that the disk is full: {text}")
            if before:
                status, text = train("keep:1", room=0)
                if status:
                    raise Wrong(f"cannot be pruned: {text}")
                left = [entry for entry in os.listdir(f"{CASE}/store/run") if entry.startswith("checkpoint-") and os.path.exists(f"{CASE}/store/run/{entry}/manifest.json")]
                if len(left) > 2:
                    raise Wrong(f"nothing was pruned: {left}")
            check("one-line")
        except Wrong as wrong:
            failures.append(f"{name}, room for {room}: {wrong}")
        room += 4096 * STRIDE
    tell(f"full disk: {name}", cases, failures, f"; done with {room} bytes")


for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EINTR):
    fail_each(f"{errno.errorcode[code]} at each call", {"errno": code}, True)
for number, what in ((1, "1 byte"), (2, "half"), (3, "all but 1 byte")):
    fail_each(f"short reads and writes: {what}", {"short": number}, False)
fill_each("the first save", None, "open resume save")
fill_each("a later save", "open resume save:4", "open resume save:2")
shutil.rmtree(WORK, ignore_errors=True)
sys.exit(0 if well else 1)
