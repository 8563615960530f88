"""Logs: files that rotate under load, syslog and journal, what debugs, traces, pmtactl logs, secrets."""
import base64
import contextlib
import glob
import gzip
import json
import os
import re
import signal
import smtplib
import socket
import struct
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, wait_until
from tls_peer import Authority, Peer

TEXT = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (debug|info |warn |error) '
                  r'[a-z]+(/[a-z0-9]+)?\[\d+\] [a-z-]+: .+')
PASSWORD = 'p4ss-Word-that-nobody-may-see'


class Logged(Pmta):
    """One whose log file is its own affair: standard error goes elsewhere."""

    def __init__(self, directory, sink, logs='', **more):
        self.file = os.path.join(directory.sub('logs'), 'pmta.log')
        super().__init__(directory, sink, pmta=f'log-file = {self.file}\n{logs}\n', **more)

    def start(self, wait=True):
        Pmta.start(self, wait=False)
        return self.ready() if wait else self

    def ready(self):
        def running():
            try:
                kids = [o for o in self.admin('status root') if 'child' in o]
            except (OSError, ValueError):
                if self.process.poll() is not None:
                    raise AssertionError(self.log_text()[-3000:])
                return False
            return len(kids) >= 5 and all(o['state'] == 'running' for o in kids)
        wait_until(running, 'all processes')
        return self

    def files(self):
        """All log files, oldest first."""
        def number(name):
            found = re.search(r'\.log\.(\d+)', name)
            return int(found[1]) if found else 0
        return sorted(glob.glob(self.file + '*'), key=number, reverse=True)

    def lines(self):
        text = b''
        for name in self.files():
            with (gzip.open if name.endswith('.gz') else open)(name, 'rb') as f:
                text += f.read()
        return text.decode().splitlines()

    def ctl(self, *words, status=0, timeout=30):
        done = subprocess.run([os.path.join(BIN, 'pmtactl'), '-s', self.socket, *words], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=timeout)
        if status is not None and done.returncode != status:
            raise AssertionError(f'{words}: {done.returncode}: {done.stdout}{done.stderr}')
        return done.stdout + done.stderr

    def follow(self, *words):
        return subprocess.Popen([os.path.join(BIN, 'pmtactl'), '-s', self.socket, *words], text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.sink = Sink(self.dir)
        self.addCleanup(self.sink.stop)

    def pmta(self, logs='', wait=True, kind=Logged, **more):
        p = kind(self.dir, self.sink.port, logs, **more)
        self.addCleanup(p.kill)
        return p.start(wait)

    def started(self, process):
        def end():
            if process.poll() is None:
                process.kill()
            process.wait()
            process.stdout.close()
        self.addCleanup(end)
        return process

    def read_until(self, process, text, seconds=20):
        """Lines of a program up to the one with that text."""
        lines, deadline = [], threading.Timer(seconds, process.kill)
        deadline.start()
        try:
            for line in process.stdout:
                lines.append(line)
                if text in line:
                    return ''.join(lines)
        finally:
            deadline.cancel()
        raise AssertionError(f'no line with {text!r} in:\n' + ''.join(lines))


class Files(Case):
    def flood(self, p, count):
        subprocess.run([os.path.join(BIN, 'pmta-flood'), '--to', f'127.0.0.1:{p.port}', '--messages',
                        str(count), '--size', '600', '--pipe', 'bulk,transactional', '--quiet'],
                       check=True, timeout=120)

    def check_load(self, logs, is_line, id_of):
        p = self.pmta(logs)
        stop = threading.Event()

        def rotate():
            while not stop.wait(0.05):
                p.ctl('rotate', 'log')
        turner = threading.Thread(target=rotate)
        turner.start()
        try:
            self.flood(p, 3000)
            p.wait_empty()
        finally:
            stop.set()
            turner.join()
        p.stop()
        self.assertGreater(len(p.files()), 4)
        lines = p.lines()
        for line in lines:
            self.assertTrue(is_line(line), line)
        ids = [x for x in map(id_of, lines) if x]
        self.assertEqual(len(ids), 3000)
        self.assertEqual(len(set(ids)), 3000)
        self.assertEqual(p.log_text().strip(), '')  # nothing went elsewhere

    def test_no_line_is_lost_or_torn_while_files_rotate(self):
        def id_of(line):
            found = re.search(r' delivery: delivered id=(\S+) ', line)
            return found and found[1]
        self.check_load('log-rotate = 1000', TEXT.fullmatch, id_of)

    def test_json_lines_under_load_with_compression(self):
        def id_of(line):
            o = json.loads(line)
            return o['message'] == 'delivered' and o['id']
        self.check_load('log-rotate = 1000\nlog-format = json\nlog-compress = gzip', json.loads, id_of)

    def test_by_size_keeps_so_many(self):
        p = self.pmta('log-max-size = 20k\nlog-rotate = 3\nlog-compress = gzip')
        def first_line():
            with contextlib.suppress(FileNotFoundError), open(p.file) as f:
                return f.readline()
        for _ in range(5):
            before = first_line()
            self.flood(p, 150)
            wait_until(lambda: first_line() not in (before, None), 'a new log file')
        wait_until(lambda: [os.path.basename(x) for x in p.files()] ==
                   ['pmta.log.2.gz', 'pmta.log.1', 'pmta.log'], 'three files', 10)

    def test_by_time(self):
        p = self.pmta('log-rotate-interval = 2s\nlog-rotate = 4')
        p.send('a@x.example')
        wait_until(lambda: os.path.exists(p.file + '.1'), 'the first old file', 10)
        p.ctl('debug', 'all')
        p.send('b@x.example')
        wait_until(lambda: os.path.exists(p.file + '.2'), 'the second old file', 10)

    def test_hang_up_opens_it_again_also_with_a_bad_configuration(self):
        p = self.pmta('log-auto-rotation = no')
        p.send('a@x.example', pipe='bulk')
        p.wait_empty()
        p.write_config('99-bad.conf', 'nonsense = yes\n')
        os.rename(p.file, p.file + '.old')
        p.process.send_signal(signal.SIGHUP)
        wait_until(lambda: os.path.exists(p.file) and 'reload refused' in open(p.file).read(),
                   'the new file')
        p.send('b@x.example', pipe='bulk')
        wait_until(lambda: 'rcpt=b@x.example' in open(p.file).read(), 'a pipe that writes into it')
        self.assertNotIn('rcpt=b@x.example', open(p.file + '.old').read())

    def test_the_directory_is_gone(self):
        p = self.pmta('log-rotate = 5')
        os.remove(p.file)
        self.assertIn('cannot rename', p.ctl('rotate', 'log', status=1))
        p.send('a@x.example', pipe='bulk')
        p.wait_empty()  # mail goes on
        self.assertIn('cannot be used', Logged.ctl(p, 'logs', status=1).replace('cannot read', 'cannot be used'))

    def test_what_a_log_file_must_not_be(self):
        os.makedirs(os.path.join(self.dir.path, 'logs'), exist_ok=True)
        os.symlink('/dev/null', os.path.join(self.dir.path, 'logs', 'pmta.log'))
        p = self.pmta(wait=False)
        self.assertEqual(p.process.wait(20), 1)
        self.assertIn('symbolic link', p.log_text())


class Collector:
    """A datagram socket and what came."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.socket.settimeout(0.2)
        self.messages = []
        self.ended = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended:
            try:
                self.messages.append(self.socket.recv(1 << 17))
            except TimeoutError:
                pass

    def close(self):
        self.ended = True
        self.thread.join()
        self.socket.close()
        if os.path.exists(self.path):
            os.remove(self.path)


class Plain(Pmta):
    """log-to without a file."""

    def __init__(self, directory, sink, logs='', **more):
        super().__init__(directory, sink, pmta=logs + '\n', **more)

    ready = Logged.ready
    start = Logged.start
    ctl = Logged.ctl


class Daemons(Case):
    def collector(self, name='log.sock'):
        c = Collector(os.path.join(self.dir.path, name))
        self.addCleanup(c.close)
        return c

    def test_syslog_and_its_return(self):
        c = self.collector()
        p = self.pmta(f'log-to = syslog\nsyslog-socket = {c.path}\nsyslog-facility = local3', kind=Plain)
        form = re.compile(rb'<(\d+)>1 \d{4}-\S+Z mta\.test\.example pmta (\d+) (\S+) - (.*)', re.S)
        p.send('a@x.example', pipe='bulk')
        wait_until(lambda: any(b'rcpt=a@x.example' in m for m in c.messages), 'the line of the attempt')
        for m in list(c.messages):
            self.assertTrue(form.fullmatch(m), m)
            self.assertNotIn(b'\n', m)
        line = next(m for m in c.messages if b'delivered' in m)
        self.assertEqual(int(form.fullmatch(line)[1]), 19 * 8 + 6)
        self.assertEqual(form.fullmatch(line)[3], b'delivery')
        self.assertIn(b'pipe/bulk delivery: delivered id=', line)
        self.assertIn('syslog', p.ctl('logs', status=1))

        c.close()  # the daemon is gone: mail goes on, and lines go to standard error
        p.send('b@x.example', pipe='bulk')
        p.wait_log('is away')
        p.send('c@x.example', pipe='bulk')
        p.wait_log('rcpt=c@x.example')
        self.assertIn('is away', p.ctl('status'))
        back = self.collector()
        wait_until(lambda: any(b'there again' in m for m in back.messages), 'it is used again')
        p.send('d@x.example', pipe='bulk')
        wait_until(lambda: any(b'rcpt=d@x.example' in m for m in back.messages), 'a pipe uses it again')
        p.wait_empty()
        self.assertNotIn('rcpt=d@x.example', p.log_text())

    def test_syslog_by_udp_with_json(self):
        s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        s.bind(('::1', 0))
        s.settimeout(20)
        p = self.pmta(f'log-to = syslog\nlog-format = json\nsyslog-socket = udp:[::1]:{s.getsockname()[1]}',
                      kind=Plain)
        p.send('a@x.example', pipe='bulk')
        while True:
            m = s.recv(65536)
            o = json.loads(m[m.index(b'{'):])
            if o['message'] == 'delivered':
                break
        self.assertEqual(o['rcpt'], 'a@x.example')
        self.assertEqual(o['process'], 'pipe/bulk')

    @staticmethod
    def entry(message):
        """The fields of an entry of the journal's protocol."""
        fields = {}
        while message:
            head, _, message = message.partition(b'\n')
            name, sign, value = head.partition(b'=')
            if not sign:
                size, = struct.unpack('<Q', message[:8])
                value, message = message[8:8 + size], message[8 + size + 1:]
            fields[name.decode()] = value.decode()
        return fields

    def test_journald(self):
        c = self.collector()
        p = self.pmta(f'log-to = journald\njournald-socket = {c.path}', kind=Plain)
        p.send('a@x.example', pipe='bulk')

        def attempt():
            for m in list(c.messages):
                e = self.entry(m)
                if e.get('PMTA_RCPT') == 'a@x.example':
                    return e
            return None
        e = wait_until(attempt, 'the entry of the attempt')
        self.assertEqual(e['PMTA_PROCESS'], 'pipe/bulk')
        self.assertEqual(e['PMTA_SUBSYSTEM'], 'delivery')
        self.assertEqual(e['PMTA_QUEUE'], 'x.example/default')
        self.assertEqual(e['PMTA_STATUS'], '2.0.0')
        self.assertEqual(e['PRIORITY'], '6')
        self.assertEqual(e['SYSLOG_IDENTIFIER'], 'pmta')
        self.assertTrue(e['MESSAGE'].startswith('delivered id='))
        self.assertIn('journalctl', p.ctl('logs', status=1))

    def test_a_daemon_that_is_not_there_yet(self):
        path = os.path.join(self.dir.path, 'log.sock')
        p = self.pmta(f'log-to = syslog\nsyslog-socket = {path}', kind=Plain)
        p.wait_log('cannot use the log socket')
        c = self.collector()
        wait_until(lambda: any(b'there again' in m for m in c.messages), 'it is used')

    def test_one_that_does_not_read_stops_nobody(self):
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(s.close)
        path = os.path.join(self.dir.path, 'log.sock')
        s.bind(path)
        os.chmod(path, 0o777)
        p = self.pmta(f'log-to = syslog\nsyslog-socket = {path}', kind=Plain)
        subprocess.run([os.path.join(BIN, 'pmta-flood'), '--to', f'127.0.0.1:{p.port}', '--messages',
                        '3000', '--size', '600', '--pipe', 'bulk', '--quiet'], check=True, timeout=120)
        self.assertEqual(p.wait_empty()['bulk']['delivered'], 3000)
        def lost():
            return next(o['log']['lost'] for o in p.admin('status root') if 'log' in o)
        wait_until(lambda: lost() > 0, 'lines that are counted as lost')


class Debugging(Case):
    def debugged(self, p):
        """Processes, and queues, that wrote debug lines of the dialogue."""
        found = set()
        for line in p.lines():
            m = re.search(r' debug (\S+)\[\d+\] (delivery|smtp-in): .*?(?:queue=(\S+)|$)', line)
            if m:
                found.add((m[1].split('/')[0] if m[2] == 'smtp-in' else m[1], m[3]))
        return found

    def test_one_pipe_and_one_queue_for_a_time(self):
        p = self.pmta('log-rotate = 50', source='pipe = transactional')
        p.ctl('debug', 'smtp-in', 'delivery', '--pipe', 'bulk')
        p.send('a@x.example', pipe='transactional')
        p.wait_empty()
        self.assertEqual(self.debugged(p), set())
        p.send('a@x.example', pipe='bulk')
        p.wait_empty()
        wait_until(lambda: ('pipe/bulk', 'x.example/default') in self.debugged(p), 'debug lines')
        self.assertNotIn('pipe/transactional', str(self.debugged(p)))
        shown = p.ctl('status')
        self.assertRegex(shown, r'debug +smtp-in,delivery of pipe bulk')
        p.ctl('debug', 'smtp-in', '--pipe', 'transactional')  # the sessions' own pipe
        p.send('a@x.example')
        wait_until(lambda: ('receiver', None) in self.debugged(p), 'lines of the session')
        p.ctl('debug', 'none')
        self.assertNotIn('debug  ', p.ctl('status'))

        mark = len(p.lines())
        p.ctl('debug', '--queue', 'y.example', '--pipe', 'bulk', '--for', '2s', 'on')
        p.send(['a@x.example', 'b@y.example'], pipe='bulk')
        p.send(['b@y.example'], pipe='transactional')
        p.wait_empty()
        new = '\n'.join(x for x in p.lines()[mark:] if ' debug ' in x)
        self.assertIn('> RCPT TO:<b@y.example> queue=y.example/default', new)
        self.assertNotIn('x.example', new)
        self.assertNotIn('pipe/transactional', new)
        self.assertRegex(p.ctl('status'), r'debug +queue y.example/\* of pipe bulk')
        wait_until(lambda: 'debug  ' not in p.ctl('status'), 'the end of its time', 15)
        self.assertIn('unknown subsystem', p.ctl('debug', 'deliver', status=2))
        self.assertIn('wants on or off', p.ctl('debug', '--queue', 'x', 'delivery', status=2))
        self.assertIn('no time', p.ctl('debug', 'tls', '--for', 'long', status=1))
        self.assertIn("did you mean 'bulk'", p.ctl('debug', 'tls', '--pipe', 'bulx', status=1))


class Traces(Case):
    def test_a_session_with_tls(self):
        ca = Authority(os.path.join(self.dir.path, 'ca'))
        peer = Peer(ca.issue('mx', ['127.0.0.1']))
        self.addCleanup(peer.stop)
        p = self.pmta(domain=f'[domain tls.example]\nsmtp-hosts = [127.0.0.1]:{peer.port}\n')
        t = self.started(p.follow('trace', 'tls.example', '--pipe', 'bulk'))
        self.read_until(t, 'nothing is queued')
        p.send(['a@tls.example', 'b@other.example'], pipe='bulk', body='the secret of the content\r\n')
        text = t.communicate(timeout=20)[0]
        self.assertEqual(t.returncode, 0, text)
        order = ['resolved, 1 address', 'connecting to', 'connected', '< 220', '> EHLO', '< 250',
                 '> STARTTLS', '< 220', 'TLS handshake begins', 'TLS is up: TLSv1.3/', '> EHLO',
                 'message ', '> MAIL FROM:<from@sender.example>', '> RCPT TO:<a@tls.example>', '> DATA',
                 '< 354', 'content of ', '> .', 'delivered to a@tls.example', 'the attempts are over']
        at = 0
        for step in order:
            found = text.find(step, at)
            self.assertGreaterEqual(found, 0, f'{step!r} after {at} in\n{text}')
            at = found
        self.assertNotIn('other.example', text)
        self.assertNotIn('secret of the content', text)
        self.assertNotIn('Subject', text)

    def test_a_queue_that_waits_and_is_tried_now(self):
        self.sink.stop()
        gone = self.sink.port
        p = self.pmta(domain='[domain slow.example]\nretry-after = 1h\n')
        p.send('a@slow.example', pipe='bulk')
        wait_until(lambda: any('queue deferred' in x for x in p.lines()), 'the first attempt')
        t = self.started(p.follow('trace', 'slow.example/default', '--pipe', 'bulk', '--timeout', '2s'))
        text = t.communicate(timeout=20)[0]
        self.assertIn('its hosts failed', text)
        self.assertIn('the time is over, there was no attempt', text)
        self.assertEqual(t.returncode, 1)
        text = p.ctl('trace', 'slow.example', '--pipe', 'bulk', '--now')
        self.assertIn(f'connecting to 127.0.0.1 [127.0.0.1]:{gone}', text)
        self.assertIn('refused', text)

    def test_a_client_that_goes_ends_it_and_too_many_are_refused(self):
        p = self.pmta()
        def traces():
            return sum(o.get('traces', 0) for o in p.admin('status *'))
        runs = [self.started(p.follow('trace', 'x.example', '--pipe', 'bulk')) for _ in range(8)]
        wait_until(lambda: traces() == 8, 'eight traces')
        self.assertIn('under way already', p.ctl('trace', 'x.example', '--pipe', 'bulk', status=1))
        for t in runs:
            t.send_signal(signal.SIGINT)
        wait_until(lambda: traces() == 0, 'their end', 10)
        p.send('a@x.example', pipe='bulk')
        p.wait_empty()

    def test_on_a_connection_that_is_open(self):
        p = self.pmta(domain='[domain x.example]\nidle-timeout-out = 10s\n')
        p.send('a@x.example', pipe='bulk')
        p.wait_empty()
        t = self.started(p.follow('trace', 'x.example', '--count', '2', '--json'))
        wait_until(lambda: sum(o.get('traces', 0) for o in p.admin('status *')) == 2, 'the traces')
        p.send('b@x.example', pipe='bulk')
        p.send('c@x.example', pipe='bulk')
        steps = [json.loads(x) for x in t.communicate(timeout=20)[0].splitlines()]
        text = '\n'.join(s['text'] for s in steps)
        self.assertNotIn('EHLO', text)
        self.assertIn('on a connection that is open already', text)
        self.assertIn('RCPT TO:<b@x.example>', text)
        self.assertIn('RCPT TO:<c@x.example>', text)
        self.assertEqual(t.returncode, 0)


class Secrets(Case):
    def dialogue(self, port, *lines):
        with socket.create_connection(('127.0.0.1', port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            s.sendall(b'EHLO client.example\r\n')
            while f.readline()[3:4] == b'-':
                pass
            s.sendall(b''.join(x + b'\r\n' for x in lines))
            s.shutdown(socket.SHUT_WR)
            f.read()

    def test_no_credentials_in_any_log_or_trace(self):
        p = self.pmta('log-rotate = 100', listener='allow-plain-auth = yes\nsource = clients',
                      extra='[source clients]\nallow-plain-auth = yes\n')
        hashed = subprocess.run([os.path.join(BIN, 'pmtactl'), 'hash-password'], input=PASSWORD + '\n',
                                text=True, stdout=subprocess.PIPE, check=True).stdout.strip()
        p.write_config('20-user.conf', f'[smtp-user app]\npassword = {hashed}\npipe = bulk\n')
        p.ctl('reload')
        p.ctl('debug', 'all')
        trace = self.started(p.follow('trace', '*'))
        inbound = self.started(p.follow('trace', 'inbound', '--count', '18'))
        wait_until(lambda: all(o['traces'] for o in p.admin('status *')
                               if o.get('process', '').startswith('receiver/') and 'sessions' in o),
                   'the trace of sessions')
        plain = base64.b64encode(b'\0app\0' + PASSWORD.encode())
        user, word = base64.b64encode(b'app'), base64.b64encode(PASSWORD.encode())
        wrong = base64.b64encode(b'\0app\0x' + PASSWORD.encode())
        for lines in ([b'AUTH PLAIN ' + plain], [b'auth  plain ' + plain], [b'AUTH PLAIN', plain],
                      [b'AUTH PLAIN ' + wrong], [b'AUTH LOGIN', user, word], [b'AUTH LOGIN ' + user, word],
                      [b'AUTH CRAM-MD5', user, word],          # not offered: what follows is no command
                      [b'AUTH CRAM-MD5 ' + word],
                      [b'AUTH=PLAIN ' + plain], [b' AUTH PLAIN ' + plain], [b'AUTH\tPLAIN\t' + plain],
                      [b'XAUTH ' + word], [b'AUTH LOGIN', b'*', word], [b'AUTH ' + plain],
                      [b'AUTH PLAIN =', word], [b'MAIL FROM:<a@b.example>', b'AUTH PLAIN ' + plain, word]):
            self.dialogue(p.port, *lines)
        with smtplib.SMTP('127.0.0.1', p.port, timeout=20) as s:
            self.assertRaises(smtplib.SMTPAuthenticationError, s.login, 'app', 'x' + PASSWORD)
        with smtplib.SMTP('127.0.0.1', p.port, timeout=20) as s:
            s.login('app', PASSWORD)
            s.sendmail('a@b.example', ['c@x.example'], 'Subject: x\r\n\r\nhello\r\n')
        shown = trace.communicate(timeout=20)[0]
        sessions = inbound.communicate(timeout=20)[0]
        self.assertEqual(sessions.count('* the session is over'), 18, sessions)
        for step in ('< AUTH PLAIN ...', '< AUTH ...', '< AUTH CRAM-MD5 ...', '< (response, not shown)',
                     '< (no command, not shown)', '> 334 ', '> 235 ', "* logged in as 'app'", '> 535 '):
            self.assertIn(step, sessions)
        shown += sessions
        p.wait_empty()
        p.ctl('debug', 'none')
        p.stop()
        text = '\n'.join(p.lines()) + p.log_text() + shown
        self.assertIn('< AUTH ...', text)
        self.assertIn('(no command, not shown)', text)
        self.assertIn('(response, not shown)', text)
        self.assertIn('RCPT TO:<c@x.example>', text)
        for secret in (PASSWORD, plain.decode(), word.decode(), wrong.decode(), hashed):
            self.assertNotIn(secret, text)
            self.assertNotIn(secret[:20], text.replace('$argon2id$v=19$m=', ''))


class Looking(Case):
    def test_filters_in_both_forms_and_old_files(self):
        p = self.pmta('log-rotate = 20\nlog-compress = zstd')
        first = p.send(['ann@x.example', 'bob@y.example'], pipe='bulk', headers='X-Job: j1\r\n')
        p.wait_empty()
        p.ctl('rotate', 'log')
        p.write_config('20-json.conf', '[pmta]\nlog-format = json\n')
        p.ctl('reload')
        second = p.send('ann@x.example', pipe='transactional', sender='news@s.example')
        p.wait_empty()
        p.ctl('rotate', 'log')
        wait_until(lambda: any(x.endswith('.zst') for x in p.files()), 'a compressed file')

        def found(*words):
            return [json.loads(x) for x in p.ctl('logs', '--json', *words).splitlines()]

        def delivered(*words):
            return sorted(o['id'] for o in found(*words) if o['message'] == 'delivered')
        self.assertEqual(delivered('--rcpt', 'ANN@*'), sorted([first + '.0', second + '.0']))
        self.assertEqual(delivered('--rcpt', 'bob@y.example'), [first + '.1'])
        self.assertEqual(delivered('--pipe', 'transactional'), [second + '.0'])
        self.assertEqual(delivered('--sender', 'news@s.example'), [second + '.0'])
        self.assertEqual(delivered('--queue', 'y.example'), [first + '.1'])
        self.assertEqual(delivered('--job', 'j1'), [first + '.0', first + '.1'])
        self.assertEqual(delivered('--id', first + '.1'), [first + '.1'])
        self.assertEqual(len(found('--id', first)), 3)  # the accepted message, too
        self.assertEqual(delivered('--rcpt', '*', '-n', '1'), [second + '.0'])
        self.assertEqual(delivered('--since', '1h'), sorted([first + '.0', first + '.1', second + '.0']))
        self.assertEqual(delivered('--since', '2099-01-01'), [])
        self.assertEqual(delivered('--level', 'warn'), [])
        self.assertEqual(p.ctl('logs', '--level', 'loud', status=2).count('expected debug'), 1)
        shown = p.ctl('logs', '--id', second)
        self.assertIn(f'delivery: delivered id={second}.0 rcpt=ann@x.example', shown)
        p.stop()
        self.assertIn('--file', p.ctl('logs', status=2))
        self.assertIn(second, p.ctl('logs', '--file', p.file, '--rcpt', 'ann@*'))

    def test_follow_over_rotations(self):
        p = self.pmta('log-rotate = 30')
        t = self.started(p.follow('logs', '--follow', '--rcpt', '*@x.example', '--pipe', 'bulk'))
        wanted = []
        for i in range(12):
            wanted.append(f'r{i}@x.example')
            p.send([wanted[-1], f'r{i}@y.example'], pipe='bulk')
            p.send(f'r{i}@x.example', pipe='transactional')
            if i == 0:
                self.read_until(t, wanted[0])
            elif i % 2:
                p.wait_empty()
                p.ctl('rotate', 'log')
        text = self.read_until(t, 'r11@x.example')
        lines = [x for x in text.splitlines() if ' delivered ' in x]
        seen = [re.search(r'rcpt=(\S+)', x)[1] for x in lines]
        self.assertEqual(seen, wanted[1:])
        self.assertNotIn('transactional', text)

    def test_the_last_lines_and_a_log_that_is_elsewhere(self):
        p = self.pmta()
        for _ in range(30):
            p.send('a@x.example', pipe='bulk')
        p.wait_empty()
        self.assertEqual(p.ctl('logs').splitlines(), p.lines()[-20:])
        self.assertEqual(p.ctl('logs', '-n', '3').splitlines(), p.lines()[-3:])
        self.assertEqual(p.ctl('logs', '-n', '0'), '')
        p.stop()
        other = self.pmta(kind=Plain)
        self.assertIn('journalctl -u pmta', other.ctl('logs', status=1))
        self.assertIn('log-to is stderr', other.ctl('rotate', 'log', status=1))


if __name__ == '__main__':
    unittest.main()
