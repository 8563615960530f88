"""Ports of 127.0.0.1 that nobody else takes: not another test that runs beside this one, and no
connection going out, for they are below the range the kernel takes those from."""
import os
import random
import socket

FIRST = 12000
held = []  # for the life of the process


def end():
    with open('/proc/sys/net/ipv4/ip_local_port_range') as f:
        return min(int(f.read().split()[0]), 32768)


def free_port():
    """Nobody listens there, for TCP or UDP; an abstract socket keeps other tests from taking it too."""
    choice = random.Random(os.urandom(8))
    for _ in range(1000):
        port = choice.randrange(FIRST, end())
        mark = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            mark.bind(f'\0pmta-test-port-{port}')
            for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
                with socket.socket(socket.AF_INET, kind) as s:
                    s.bind(('127.0.0.1', port))
        except OSError:
            mark.close()
            continue
        held.append(mark)
        return port
    raise AssertionError('no free port')
