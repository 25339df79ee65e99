"""What stands in for Python: has the server run a command with this process's own environment, and ends as it ends.

The server makes programs of it. Signals go on to the command; should this process be killed, so is the command.
"""

# In C, and so imported in a millisecond.
import _signal
import _socket
import marshal
import os
import sys

FORWARDED = (_signal.SIGHUP, _signal.SIGINT, _signal.SIGQUIT, _signal.SIGTERM, _signal.SIGUSR1, _signal.SIGUSR2)


def main(address: str, *arguments: str) -> None:
    """Run the command, and exit as it does."""
    _signal.pthread_sigmask(_signal.SIG_BLOCK, FORWARDED)
    ignored = [number for number in FORWARDED if _signal.getsignal(number) == _signal.SIG_IGN]
    files = inherited()
    folder = os.getcwd()  # noqa: PTH109  Pathlib takes long.
    job = marshal.dumps((list(arguments), folder, dict(os.environ), ignored, files))
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(address)
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, b"".join(n.to_bytes(4, sys.byteorder) for n in files))
    server.sendmsg([len(job).to_bytes(4, "big")], [rights])
    server.sendall(job)
    process = number_from(server)
    for number in set(FORWARDED) - set(ignored):
        _signal.signal(number, lambda number, _: os.kill(process, number))
    _signal.pthread_sigmask(_signal.SIG_UNBLOCK, FORWARDED)
    code = os.waitstatus_to_exitcode(number_from(server))
    if code < 0:
        if -code not in (_signal.SIGKILL, _signal.SIGSTOP):
            _signal.signal(-code, _signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def inherited() -> list[int]:
    """The open files that a program was given: inputs and outputs, and what multiprocessing passes to a process."""
    found = []
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  Pathlib takes long.
        try:
            if os.get_inheritable(number):
                found.append(number)
        except OSError:
            pass  # The folder itself, which was open while it was read.
    return found


def number_from(server: _socket.socket) -> int:
    """What the server says; waits for it."""
    told = server.recv(4)
    if not told:
        sys.exit("the process that forks has ended")
    return int.from_bytes(told, "big")
