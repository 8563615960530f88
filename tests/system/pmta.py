"""What system tests share: a pmtad on free loopback ports with a directory of its own, receiving sides,
and waiting for events by looking at real conditions. Everything that is started is stopped by pid."""
import json
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time

from ports import free_port  # noqa: F401, for those that import this

BIN = os.environ.get('PMTA_BIN') or os.path.join(
    os.path.dirname(os.path.abspath(__file__)), '..', '..', 'build', 'bin')
BIN = os.path.abspath(BIN)


def wait_until(condition, what, seconds=30):
    """Polls a real condition; fails the test with `what` when it does not come true."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            for pmta in Pmta.running:
                pmta.show_log()
            raise AssertionError('gave up waiting for: ' + what)
        time.sleep(0.02)


class Directory:
    """A directory on a real disk that also the unprivileged user can reach."""

    def __init__(self, prefix='pmta-test-'):
        self.path = tempfile.mkdtemp(prefix=prefix, dir=os.environ.get('PMTA_TEST_DIR', '/var/tmp'))
        os.chmod(self.path, 0o755)

    def sub(self, name):
        path = os.path.join(self.path, name)
        os.makedirs(path, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(path, pwd.getpwnam('nobody').pw_uid, -1)
        return path

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)


def has_ended(pid):
    """Whoever has adopted it may leave it a zombie for a while."""
    try:
        with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as f:
            return f.read().rpartition(')')[2].split()[0] in 'ZX'
    except (FileNotFoundError, ProcessLookupError):
        return True


class Pmta:
    """A pmtad with two pipes. `extra` is more configuration text; `sink` the port of the next hop.
    Without `notices` no delivery notices are sent, so that only what a test sends is counted."""

    running = []  # what to look at when a wait is in vain

    def __init__(self, directory, sink, extra='', listener='', options=(), pmta='', source='',
                 domain='', program=os.path.join(BIN, 'pmtad'), notices=False):
        self.program = program
        self.dir = directory
        self.port = free_port()
        self.run = directory.sub('run')
        self.spool = directory.sub('spool')
        self.acct = directory.sub('acct')
        self.log = os.path.join(directory.path, 'log')
        self.socket = os.path.join(self.run, 'admin.sock')
        self.conf = directory.sub('config.d')
        self.process = None
        self.options = list(options)
        user = 'user = nobody\n' if os.geteuid() == 0 else ''
        quiet = '' if notices else 'suppress-local-dsn = yes\n'
        self.write_config('10-test.conf', f'''
[pmta]
host-name = mta.test.example
spool = {self.spool}
run-dir = {self.run}
acct-dir = {self.acct}
receivers = 2
drain-timeout = 5s
{user}{quiet}{pmta}
[listener in]
address = 127.0.0.1:{self.port}
{listener}
[source 127.0.0.0/8]
always-allow-relaying = yes
process-x-pipe = yes
process-x-job = yes
process-x-virtual-mta = yes
{source}
[pipe transactional]
[pipe bulk]
[domain *]
smtp-hosts = [127.0.0.1]:{sink}
retry-after = 300ms
idle-timeout-out = 200ms
{domain}
{extra}
''')

    def write_config(self, name, text):
        with open(os.path.join(self.conf, name), 'w') as f:
            f.write(text)

    def start(self, wait=True):
        with open(self.log, 'ab') as log:
            self.mark = log.tell()
            self.process = subprocess.Popen(
                [self.program, '-c', self.conf] + self.options,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        if self not in Pmta.running:
            Pmta.running.append(self)
        if wait:
            self.wait_log('all processes are ready')
        return self

    def show_log(self, lines=60):
        """The end of it, for whoever reads why a test failed."""
        text = self.log_text(all=True).splitlines()[-lines:] if os.path.exists(self.log) else []
        print('\n'.join(['--- log of ' + self.dir.path, *(line[:300] for line in text)]), file=sys.stderr,
              flush=True)

    def log_text(self, all=False):
        with open(self.log, 'rb') as f:
            if not all:
                f.seek(self.mark)
            return f.read().decode('utf-8', 'replace')

    def wait_log(self, text, seconds=30):
        def seen():
            if text in self.log_text():
                return True
            if self.process.poll() is not None:
                raise AssertionError(f'pmtad ended with {self.process.returncode} while waiting for '
                                     f'{text!r}:\n{self.log_text()[-3000:]}')
            return False
        wait_until(seen, f'log line with {text!r}', seconds)

    def admin(self, line):
        """One raw admin line; returns the objects, the last is the end."""
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(20)
            s.connect(self.socket)
            s.sendall(line.encode() + b'\n')
            data = b''
            while b'"end":true' not in data:
                part = s.recv(65536)
                if not part:
                    break
                data += part
        return [json.loads(x) for x in data.decode().splitlines()]

    def ledger(self):
        """{pipe: ledger object}, or None while a process does not answer."""
        try:
            objects = self.admin('ledger *')
        except (OSError, ValueError):
            return None
        books = {o['pipe']: o for o in objects if 'received' in o}
        return books if len(books) == 2 else None

    def wait_empty(self, seconds=60):
        """Until nothing is queued; returns the ledger."""
        def empty():
            books = self.ledger()
            return books if books and all(b['queued'] == 0 for b in books.values()) else None
        return wait_until(empty, 'empty queues', seconds)

    def pids(self):
        """{name: pid} of the children that run."""
        try:
            objects = self.admin('status root')
        except OSError:
            return {}
        return {o['child']: o['pid'] for o in objects if 'child' in o and o.get('pid')}

    def smtp(self):
        return smtplib.SMTP('127.0.0.1', self.port, timeout=20)

    def send(self, rcpts, pipe=None, headers='', body='hello\r\n', sender='from@sender.example'):
        """One message by smtplib; returns the message id of the reply."""
        x_pipe = f'X-Pipe: {pipe}\r\n' if pipe else ''
        text = f'Subject: test\r\n{x_pipe}{headers}\r\n{body}'
        with self.smtp() as s:
            s.ehlo('client.example')
            s.mail(sender)
            for r in [rcpts] if isinstance(rcpts, str) else rcpts:
                code, reply = s.rcpt(r)
                if code != 250:
                    raise smtplib.SMTPResponseException(code, reply)
            code, reply = s.data(text.encode() if isinstance(text, str) else text)
            if code != 250:
                raise smtplib.SMTPResponseException(code, reply)
            return reply.decode().split()[-1]

    def records(self, pipe='bulk'):
        """Accounting records as dicts."""
        import csv
        path = os.path.join(self.acct, f'acct-{pipe}.csv')
        if not os.path.exists(path):
            return []
        with open(path, newline='') as f:
            return list(csv.DictReader(f))

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self):
        """SIGKILL of root and, by their pids, of its children; fails when a sanitizer spoke."""
        if self in Pmta.running:
            Pmta.running.remove(self)
        pids = list(self.pids().values()) if self.process and self.process.poll() is None else []
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in pids:  # the next start needs their ports
            wait_until(lambda pid=pid: has_ended(pid), 'the end of a killed process')
        text = self.log_text(all=True) if os.path.exists(self.log) else ''
        for sign in ('ERROR: AddressSanitizer', 'runtime error:'):
            if sign in text:
                raise AssertionError(text[text.rfind('\n', 0, text.index(sign)) + 1:][:4000])


class Sink:
    """pmta-sink on a free port (or the one given), recording what it accepts."""

    def __init__(self, directory, port=0, args=(), name='sink'):
        self.record = os.path.join(directory.path, name + '.tsv')
        self.process = subprocess.Popen(
            [os.path.join(BIN, 'pmta-sink'), '--listen', f'127.0.0.1:{port}', '--print-port',
             '--record', self.record, *args],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(line.strip().rsplit(':', 1)[1])

    def rows(self):
        """Asks it to write its record, and reads that: lists of columns."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGUSR1)
        with open(self.record) as f:
            return [x.rstrip('\n').split('\t') for x in f if not x.startswith('#')]

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            out, _ = self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, _ = self.process.communicate()
        return out
