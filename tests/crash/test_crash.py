#!/usr/bin/env python3
"""Kills pipes, receivers, resolver and root with SIGKILL at random moments under load, at least 20
rounds, and then proves that every acknowledged message arrived, that the books balance, and that
duplicates are bounded by what was in flight. CRASH_ROUNDS and CRASH_SEED change the run."""
import os
import random
import signal
import smtplib
import sys
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', 'system'))
from pmta import Directory, Pmta, Sink, wait_until  # noqa: E402

ROUNDS = int(os.environ.get('CRASH_ROUNDS', '24'))
SEED = int(os.environ.get('CRASH_SEED', '0')) or random.SystemRandom().randrange(1, 1 << 30)
VICTIMS = ['pipe/bulk', 'pipe/transactional', 'receiver/0', 'receiver/1', 'resolver', 'root']
# what may be in flight when a pipe is killed: one message per client, and the outcomes of the last
# milliseconds, which the pipe gathers before it writes them (pipe/spool/batch.c)
IN_FLIGHT = 100


class Loader(threading.Thread):
    """Sends messages one after another over connections that may break; keeps what got its 250."""

    def __init__(self, port, number, stop):
        super().__init__(daemon=True)
        self.port, self.number, self.stop_event = port, number, stop
        self.acknowledged = {}  # Message-Id -> queue id
        self.sent = 0

    def one(self, s):
        mid = f'<{self.number}.{self.sent}@load.example>'
        pipe = ('bulk', 'transactional')[self.sent % 2]
        self.sent += 1
        s.mail('load@sender.example')
        s.rcpt(f'u{self.sent % 50}@d{self.sent % 7}.example')
        code, reply = s.data(f'Message-Id: {mid}\r\nX-Pipe: {pipe}\r\nSubject: load\r\n\r\n'
                             f'{"x" * 500}\r\n'.encode())
        if code == 250:
            self.acknowledged[mid] = reply.decode().split()[-1]
        else:
            s.rset()

    def run(self):
        while not self.stop_event.is_set():
            try:
                with smtplib.SMTP('127.0.0.1', self.port, timeout=5) as s:
                    s.ehlo('load.example')
                    for _ in range(200):
                        if self.stop_event.is_set():
                            break
                        self.one(s)
            except (OSError, smtplib.SMTPException):
                self.stop_event.wait(0.02)  # the process is being restarted


def running(pmta, victim, old_pid):
    pids = pmta.pids()
    return pids.get(victim) not in (None, old_pid) and victim_is_up(pmta, victim)


def victim_is_up(pmta, victim):
    try:
        objects = pmta.admin('status root')
    except (OSError, ValueError):
        return False
    return any(o.get('child') == victim and o['state'] == 'running' for o in objects)


class Crash(unittest.TestCase):
    def kill_root(self, pmta):
        children = list(pmta.pids().values())
        pmta.process.kill()
        pmta.process.wait()
        wait_until(lambda: not any(os.path.exists(f'/proc/{p}') for p in children),
                   'children to leave after root was killed')
        pmta.start()

    def kill_child(self, pmta, victim):
        pid = wait_until(lambda: pmta.pids().get(victim), f'{victim} to run')
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        wait_until(lambda: running(pmta, victim, pid), f'{victim} to come back', 60)

    def test_nothing_acknowledged_is_lost(self):
        rng = random.Random(SEED)
        print(f'seed {SEED}', flush=True)
        directory = Directory('pmta-crash-')
        self.addCleanup(directory.remove)
        sink = Sink(directory, args=['--quiet'])
        self.addCleanup(sink.stop)
        pmta = Pmta(directory, sink.port)
        self.addCleanup(pmta.kill)
        pmta.start()
        stop = threading.Event()
        loaders = [Loader(pmta.port, i, stop) for i in range(6)]
        for loader in loaders:
            loader.start()
        kills = {}
        for i in range(ROUNDS):
            victim = VICTIMS[i % len(VICTIMS)] if i < 12 else rng.choice(VICTIMS)
            stop.wait(rng.uniform(0.02, 0.3))  # the random moment
            kills[victim] = kills.get(victim, 0) + 1
            if victim == 'root':
                self.kill_root(pmta)
            else:
                self.kill_child(pmta, victim)
        stop.set()
        for loader in loaders:
            loader.join(30)
        books = pmta.wait_empty(120)
        self.assertEqual(pmta.stop(), 0)
        sink.stop()

        acknowledged = {}
        for loader in loaders:
            acknowledged.update(loader.acknowledged)
        arrived = [(r[0], r[1]) for r in sink.rows() if len(r) > 1]
        ids = {a[0] for a in arrived}
        duplicates = len(arrived) - len(set(arrived))
        delivered = {r['msgId'] for p in ('bulk', 'transactional') for r in pmta.records(p)
                     if r['type'] == 'd'}
        received = {r['msgId'] for p in ('bulk', 'transactional') for r in pmta.records(p)
                    if r['type'] == 'r'}
        unreceived = [q for q in acknowledged.values() if q + '.0' not in received]
        recordless = [q for q in acknowledged.values() if q + '.0' not in delivered]
        lost = [m for m in acknowledged if m not in ids]
        with_queues = sum(kills.get(k, 0) * (2 if k == 'root' else 1)
                          for k in ('pipe/bulk', 'pipe/transactional', 'root'))
        bound = with_queues * IN_FLIGHT
        print(f'{ROUNDS} rounds {kills}: sent {sum(x.sent for x in loaders)}, acknowledged '
              f'{len(acknowledged)}, arrived {len(ids)}, lost {len(lost)}, without final '
              f'record {len(recordless)}, without r record {len(unreceived)}, duplicates {duplicates} (bound {bound})', flush=True)
        for name, b in books.items():
            print('ledger', name, {k: v for k, v in b.items() if k not in ('process', 'pipe')})
            self.assertTrue(b['balanced'], b)
        self.assertGreater(len(acknowledged), ROUNDS * 5)
        self.assertEqual(lost, [])
        self.assertEqual(recordless, [])
        self.assertEqual(unreceived, [])
        self.assertLessEqual(duplicates, bound)


if __name__ == '__main__':
    unittest.main()
