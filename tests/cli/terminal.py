"""The program on a terminal: the width of tables, the progress bar, Ctrl-C, a broken pipe, a full disk. terminal.py FOLDER, which holds a golden
store; CAIRN names the program.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from check import Checks  # noqa: E402

CAIRN = os.environ["CAIRN"]
WIPE = "\r\x1b[K"
END = "\x04END "
check = Checks("terminal")


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, arguments: list[str], columns: int) -> None:
        sized, size = os.pipe()
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.close(size)
            os.read(sized, 1)  # until the size is set
            self.lead(arguments)
        os.close(sized)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.close(size)
        self.text = ""

    def lead(self, arguments: list[str]) -> None:
        """Goes on living after the command: with its leader's end a terminal may lose what it has not given out yet."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        command = os.fork()
        if not command:
            environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.execve(CAIRN, [CAIRN, *arguments], environment | {"TERM": "xterm"})
        status = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
        os.write(1, f"{END}{status};".encode())
        signal.pause()

    def read(self) -> bool:
        try:
            data = os.read(self.fd, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += data.decode()
        return bool(data)

    def read_until(self, pattern: str) -> None:
        while not re.search(pattern, self.text) and self.read():
            pass

    def end(self) -> int:
        self.read_until(f"{END}-?\\d+;")
        self.text, status = self.text.rstrip(";").split(END)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.fd)
        return int(status)


def tables() -> None:
    for columns in (20, 30, 50, 80, 120):
        for arguments in (["ls", "golden"], ["ls"], ["show", "golden@20"], ["du", "golden"]):
            terminal = Terminal(arguments, columns)
            status = terminal.end()
            lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in terminal.text.split("\r\n")]
            first = next((i for i, line in enumerate(lines) if re.match(r" *(STEP|RUN|ITEM|CHECK)", line)), len(lines))
            last = next((i for i, line in enumerate(lines) if i > first and re.match(r"values|golden: |$", line)), len(lines))
            rows = lines[first:last]
            check(f"{' '.join(arguments)} in {columns} columns", status == 0 and len(rows) > 1 and max(map(len, rows)) <= columns, (status, rows, terminal.text))


def progress() -> None:
    """A file that takes seconds to read, without taking room: a hole."""
    size = 16 << 30
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}' % (size, size)
    with open("large.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(header)) + header)
        out.truncate(8 + len(header) + size)
    terminal = Terminal(["verify", "large.safetensors"], 60)
    terminal.read_until(r"\d+ % \[")
    check("a progress bar appears", bool(re.search(r"\d+ % \[=* *\] [0-9.]+ [kMG]?B/s", terminal.text)), terminal.text)
    os.write(terminal.fd, b"\x03")
    status = terminal.end()
    check("Ctrl-C ends it at once, as a signal", status == -signal.SIGINT, status)
    check("and leaves a clean line", terminal.text.rstrip("\r\n").endswith(WIPE), terminal.text[-60:])
    bars = [part for part in terminal.text.split(WIPE) if "%" in part]
    check("the bar fits the terminal", all(len(bar) < 60 for bar in bars), bars)
    quiet = subprocess.run([CAIRN, "verify", "golden"], capture_output=True, text=True)
    check("no bar where there is no terminal", quiet.returncode == 0 and not quiet.stderr and WIPE not in quiet.stdout, quiet)
    os.unlink("large.safetensors")


def interrupted_doctor() -> None:
    Path("place").mkdir()
    for _ in range(5):  # on a busy machine it may have ended before we press the key
        terminal = Terminal(["doctor", "place"], 80)
        deadline = time.monotonic() + 10
        while not any(Path("place").glob(".cairn-doctor*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        os.write(terminal.fd, b"\x03")
        status = terminal.end()
        if status:
            break
    check("Ctrl-C ends the doctor, and nothing is left", status == -signal.SIGINT and not os.listdir("place"), (status, os.listdir("place")))
    doctor = subprocess.Popen([CAIRN, "doctor", "place"], stdout=subprocess.DEVNULL)
    while not any(Path("place").glob(".cairn-doctor*")) and doctor.poll() is None:
        time.sleep(0.01)
    doctor.terminate()
    status = doctor.wait()
    check("SIGTERM ends it, too, and nothing is left", status == -signal.SIGTERM and not os.listdir("place"), (status, os.listdir("place")))


def doctor_that_made_its_folder() -> subprocess.Popen:
    """One that has removed what others left, too, for that comes first: stopped in the midst of it, it would hold their locks."""
    before = set(os.listdir("place"))
    doctor = subprocess.Popen([CAIRN, "doctor", "place"], stdout=subprocess.DEVNULL)
    while not any(map(is_locked, set(os.listdir("place")) - before)) and doctor.poll() is None:
        time.sleep(0.0005)
    return doctor


def is_locked(name: str) -> bool:
    """A doctor's folder is made a moment before: another one may still remove it then."""
    try:
        inode = os.stat(Path("place", name)).st_ino
    except FileNotFoundError:
        return False
    return any(line.split()[5].endswith(f":{inode}") for line in Path("/proc/locks").read_text().splitlines() if "->" not in line)


def doctor_ended_at_any_moment() -> None:
    for ending in (signal.SIGINT, signal.SIGTERM):
        left = []
        for delay_ms in [*range(1, 30, 2), *range(30, 200, 17)]:
            doctor = subprocess.Popen([CAIRN, "doctor", "place"], stdout=subprocess.DEVNULL)
            time.sleep(delay_ms / 1000)
            doctor.send_signal(ending)
            doctor.wait()
            left += os.listdir("place")
        check(f"{ending.name} to the doctor at any moment leaves nothing", not left, left)


def wait_until_nobody_holds(folder: Path) -> None:
    """A doctor that was killed leaves a child, which may live a little longer."""
    opened = os.open(folder, os.O_RDONLY)
    for _ in range(3000):
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            time.sleep(0.01)
    os.close(opened)


def doctor_that_was_killed() -> None:
    """What SIGKILL leaves goes with the next one; what a doctor that lives works in stays."""
    for _ in range(5):
        doctor = doctor_that_made_its_folder()
        doctor.kill()
        doctor.wait()
    left = os.listdir("place")
    for name in left:
        wait_until_nobody_holds(Path("place", name))
    theirs = Path("place", ".cairn-doctor-of-mine")
    theirs.mkdir()
    (theirs / "file").touch()
    living = doctor_that_made_its_folder()
    living.send_signal(signal.SIGSTOP)
    time.sleep(0.1)  # for the child to come to its end
    there = {name for name in os.listdir("place") if name not in left}
    second = subprocess.run([CAIRN, "doctor", "place"], capture_output=True)
    after = set(os.listdir("place"))
    check("killed doctors leave something, or there is nothing to see here", bool(left), left)
    check("the next doctor removes what they left", second.returncode in (0, 1) and not after & set(left), after)
    check("and neither another's folder nor that of a doctor that lives", theirs.exists() and there <= after, (there, after))
    living.send_signal(signal.SIGCONT)
    check("which ends well", living.wait() in (0, 1) and set(os.listdir("place")) == {theirs.name}, os.listdir("place"))


def full_disk() -> None:
    """A place where nothing fits any more."""
    Path("full").mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", "full"], capture_output=True).returncode:
        print("skip - terminal: the doctor on a full disk: no file system can be mounted here", flush=True)
        return
    try:
        ran = subprocess.run([CAIRN, "doctor", "full"], capture_output=True, text=True)
        check("the doctor calls a full disk full", ran.returncode == 1 and "full: full: " in ran.stdout and "usable" not in ran.stdout, ran)
        ran = subprocess.run([CAIRN, "doctor", "--json", "full"], capture_output=True, text=True)
        check("and measures no speed", ran.returncode == 1 and '"free_bytes"' in ran.stdout and "per_second" not in ran.stdout, ran)
    finally:
        subprocess.run(["umount", "full"], check=True)


def pipes() -> None:
    for command in (["ls", "golden"], ["show", "--all", "golden@20"], ["show", "--json", "golden@20"], ["--help"]):
        reader, writer = os.pipe()
        os.close(reader)
        ran = subprocess.run([CAIRN, *command], stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        check(f"{' '.join(command)} into a broken pipe is quiet", not ran.stderr and ran.returncode == -signal.SIGPIPE, ran)
    for command in (["ls", "golden"], ["ls", "--json", "golden"], ["--version"], ["ls", "--help"]):
        with open("/dev/full", "w") as full:
            ran = subprocess.run([CAIRN, *command], stdout=full, stderr=subprocess.PIPE, text=True)
        check(f"{' '.join(command)} onto a full disk is told", ran.returncode == 3 and "could not be written" in ran.stderr, ran)


def main() -> int:
    os.chdir(sys.argv[1])
    tables()
    progress()
    interrupted_doctor()
    doctor_ended_at_any_moment()
    doctor_that_was_killed()
    full_disk()
    pipes()
    return check.failed != 0


if __name__ == "__main__":
    sys.exit(main())
