#!/usr/bin/env python3
"""pmta-ship with real processes: webhooks that fail in every way, a real Redis, Kafka's protocol from
librdkafka's mock cluster; files that rotate, are compressed, moved and deleted meanwhile; kill -9."""
import gzip
import hashlib
import hmac
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
import unittest

from pmta import BIN, Directory, Pmta, Sink, free_port, wait_until

SHIP = os.path.join(BIN, 'pmta-ship')
HEADER = 'type,timeLogged,rcpt,dlvSize,pipe,msgId,attempt\r\n'


class Receiver:
    """A webhook on a port of its own; `script` is what the next requests are answered with: a status,
    (status, headers), 'hang' or 'drop'; then rule(records) decides, by default 200."""

    def __init__(self, port=0, tls=None):
        self.requests = []
        self.script = []
        self.rule = lambda records: 200
        self.lock = threading.Lock()
        self.tls = tls
        self.port = port
        self.server = None
        self.start()

    def start(self):
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'
            timeout = 20

            def do_POST(self):
                receiver.take(self)

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True
            connections = []

            def get_request(self):
                c, address = super().get_request()
                self.connections.append(c)
                return c, address

            def handle_error(self, request, client_address):
                pass

        self.server = Server(('127.0.0.1', self.port), Handler)
        self.server.connections = []
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        """As if it was killed: connections break."""
        self.server.shutdown()
        self.server.server_close()
        for c in self.server.connections:
            try:
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self.thread.join()

    def take(self, h):
        body = h.rfile.read(int(h.headers['Content-Length']))
        plain = gzip.decompress(body) if h.headers.get('Content-Encoding') == 'gzip' else body
        records = json.loads(plain)
        with self.lock:
            answer = self.script.pop(0) if self.script else self.rule(records)
        if answer in ('hang', 'drop'):
            if answer == 'hang':
                time.sleep(1.5)
            h.close_connection = True
            h.connection.close()
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        with self.lock:
            self.requests.append((status, dict(h.headers), plain, records))
        h.send_response(status)
        for name, value in headers.items():
            h.send_header(name, value)
        text = b'' if status == 200 else b'no, not this'
        h.send_header('Content-Length', str(len(text)))
        h.end_headers()
        h.wfile.write(text)

    def taken(self):
        with self.lock:
            return [r for status, _, _, records in self.requests if status == 200 for r in records]

    @property
    def url(self):
        return f'http{"s" if self.tls else ""}://127.0.0.1:{self.port}/events'


def line(n, pipe='bulk', kind='d'):
    return f'{kind},2026-11-21 04:05:06+0000,"user{n}@example.com, ""x""",{n},{pipe},{n:013d}.1,1\r\n'


class Files:
    """Writes accounting files as a pipe does."""
    opened = []

    @classmethod
    def close_all(cls):
        while cls.opened:
            cls.opened.pop().close()

    def __init__(self, path, pipe='bulk'):
        self.path, self.pipe = path, pipe
        self.number, self.count = -1, 0
        self.file = None
        self.turn()

    def name(self, number):
        return os.path.join(self.path, f'acct-{self.pipe}-2026-11-21-{number:04d}.csv')

    def turn(self):
        if self.file:
            self.file.close()
        self.number += 1
        self.file = open(self.name(self.number), 'w', newline='')
        self.opened.append(self.file)
        self.file.write(HEADER)
        self.file.flush()

    def write(self, count):
        for _ in range(count):
            self.file.write(line(self.count, self.pipe))
            self.count += 1
        self.file.flush()

    def old(self, number):
        """Written some time ago: nobody waits for more."""
        os.utime(self.name(number), (time.time() - 60, time.time() - 60))


def numbers(records):
    return [r['dlvSize'] for r in records]


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = Directory('pmta-ship-')
        self.acct = self.dir.sub('acct')
        self.state = self.dir.sub('state')
        self.processes = []
        self.receivers = []
        self.addCleanup(Files.close_all)

    def tearDown(self):
        for p in self.processes:
            if p.poll() is None:
                p.kill()
            p.wait()
        for r in self.receivers:
            r.stop()
        self.dir.remove()

    def receiver(self, **more):
        r = Receiver(**more)
        self.receivers.append(r)
        return r

    def arguments(self, url, *more):
        return [SHIP, '--follow', os.path.join(self.acct, 'acct.csv'), '--to', url,
                '--state', self.state, '--batch-delay', '20ms', '--retry-min', '20ms',
                '--retry-max', '200ms', *more]

    def ship(self, url, *more):
        log = open(os.path.join(self.dir.path, 'ship.log'), 'ab')
        p = subprocess.Popen(self.arguments(url, *more), stdin=subprocess.DEVNULL, stdout=log,
                             stderr=log)
        log.close()
        self.processes.append(p)
        return p

    def once(self, url, *more, status=0):
        r = subprocess.run(self.arguments(url, '--once', *more), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
        self.assertEqual(r.returncode, status, r.stderr.decode())
        return r

    def log(self):
        with open(os.path.join(self.dir.path, 'ship.log')) as f:
            return f.read()

    def check_all(self, records, count):
        """None is missing; what came again has the id that it had, and ids are of one record each."""
        ids = {}
        for r in records:
            ids.setdefault(r['eventId'], r)
            self.assertEqual(ids[r['eventId']], r)
        self.assertEqual(sorted(numbers(ids.values())), list(range(count)))
        first = {}
        for at, r in enumerate(records):
            first.setdefault(r['dlvSize'], at)
        order = [first[n] for n in range(count)]
        self.assertEqual(order, sorted(order), 'out of order')


class Webhook(Case):
    def test_request(self):
        """What a request looks like, and how a receiver checks it."""
        hook = self.receiver()
        secret = os.path.join(self.dir.path, 'secret')
        fields = os.path.join(self.dir.path, 'fields')
        with open(secret, 'w') as f:
            f.write('correct horse battery\n')
        with open(fields, 'w') as f:
            f.write('# for the receiver\nAuthorization: Bearer abc\n')
        Files(self.acct).write(3)
        for packed in ('no', 'yes'):
            shutil.rmtree(self.state)
            os.mkdir(self.state)
            hook.requests.clear()
            self.once(hook.url, '--signing-secret-file', secret, '--http-header', 'X-Mine: 1',
                      '--http-header-file', fields, '--gzip', packed)
            (status, headers, body, records), = hook.requests
            self.assertEqual(records[1], {
                'eventId': 'bulk:d:0000000000001.1', 'type': 'd',
                'timeLogged': '2026-11-21 04:05:06+0000', 'rcpt': 'user1@example.com, "x"',
                'dlvSize': 1, 'pipe': 'bulk', 'msgId': '0000000000001.1', 'attempt': 1})
            self.assertEqual(headers['Content-Type'], 'application/json')
            self.assertEqual(headers['X-PMTA-Pipe'], 'bulk')
            self.assertEqual(headers['X-PMTA-Records'], '3')
            self.assertEqual(headers['X-Mine'], '1')
            self.assertEqual(headers['Authorization'], 'Bearer abc')
            self.assertTrue(headers['Idempotency-Key'])
            given = dict(x.split('=') for x in headers['X-PMTA-Signature'].split(','))
            want = hmac.new(b'correct horse battery', given['t'].encode() + b'.' + body,
                            hashlib.sha256).hexdigest()
            self.assertEqual(given['v1'], want)
            self.assertLess(abs(time.time() - int(given['t'])), 60)

    def test_receiver_in_trouble(self):
        """Everything that passes is tried again, and nothing is out of order."""
        hook = self.receiver()
        hook.script = [500, (429, {'Retry-After': '1'}), 'drop', 'hang', 503, 404, 302]
        files = Files(self.acct)
        files.write(100)
        self.ship(hook.url, '--request-timeout', '500ms', '--batch-records', '30')
        wait_until(lambda: len(set(numbers(hook.taken()))) == 100, 'all records')
        self.check_all(hook.taken(), 100)
        with hook.lock:
            keys = [h['Idempotency-Key'] for status, h, _, _ in hook.requests]
            statuses = [status for status, _, _, _ in hook.requests]
        self.assertEqual(statuses[:5], [500, 429, 503, 404, 302])
        self.assertEqual(len(set(keys[:6])), 1, 'one batch has one key however often it is sent')

    def test_retry_after(self):
        hook = self.receiver()
        hook.script = [(503, {'Retry-After': '1'})]
        Files(self.acct).write(1)
        begin = time.monotonic()
        self.once(hook.url)
        self.assertGreater(time.monotonic() - begin, 0.9)

    def test_refused_records_become_dead_letters(self):
        """Only the two that are refused, and each can be sent again by itself."""
        hook = self.receiver()
        hook.rule = lambda records: 422 if {17, 61} & set(numbers(records)) else 200
        Files(self.acct).write(100)
        self.once(hook.url, '--dead-letter-after', '2')
        good = set(range(100)) - {17, 61}
        self.assertEqual(set(numbers(hook.taken())), good)
        dead = os.path.join(self.state, 'dead-letters.json')
        with open(dead) as f:
            letters = [json.loads(x) for x in f]
        self.assertEqual(numbers(letters), [17, 61])
        self.assertIn('HTTP status 422: no, not this', letters[0]['deadLetterReason'])
        hook.rule = lambda records: 200
        again = self.dir.sub('again')
        r = subprocess.run([SHIP, '--follow', dead, '--to', hook.url, '--state', again, '--once'],
                           capture_output=True, timeout=30)
        self.assertEqual(r.returncode, 0, r.stderr)
        self.assertEqual(set(numbers(hook.taken())), set(range(100)))
        self.assertEqual(hook.taken()[-1]['eventId'], letters[1]['eventId'])

    def test_too_large(self):
        hook = self.receiver()
        hook.rule = lambda records: 413 if len(records) > 7 else 200
        Files(self.acct).write(200)
        self.once(hook.url, '--batch-records', '50')
        self.check_all(hook.taken(), 200)
        self.assertFalse(os.path.exists(os.path.join(self.state, 'dead-letters.json')))

    def test_once_fails(self):
        """A receiver that is not there: exit status 1, and the next run sends everything."""
        hook = self.receiver()
        Files(self.acct).write(5)
        self.once(f'http://127.0.0.1:{free_port()}/x', status=1)
        self.once(hook.url)
        self.check_all(hook.taken(), 5)
        self.once(hook.url)
        self.assertEqual(len(hook.requests), 1, 'the position is kept')

    def test_killed_on_both_sides(self):
        """kill -9 of pmta-ship again and again, the receiver away again and again, while files grow and
        rotate, are compressed and are moved."""
        hook = self.receiver()
        moved = self.dir.sub('moved')
        files = Files(self.acct)
        process = self.ship(hook.url, '--moved-to', moved, '--batch-records', '200')
        for turn in range(12):
            files.write(3000)
            if turn % 2:
                files.turn()
                name = files.name(files.number - 1)
                files.old(files.number - 1)
                if turn % 4 == 1: # as finish.c does: whole under another name, then the old one goes
                    target = os.path.join(moved, os.path.basename(name) + '.gz')
                    with open(name, 'rb') as f, gzip.open(target + '.tmp', 'wb') as g:
                        shutil.copyfileobj(f, g)
                    os.rename(target + '.tmp', target)
                    os.unlink(name)
                else:
                    os.rename(name, os.path.join(moved, os.path.basename(name)))
            if turn % 3 == 0:
                process.send_signal(signal.SIGKILL)
                process.wait()
            if turn % 3 == 1:
                hook.stop()
            time.sleep(0.05)
            if turn % 3 == 0:
                process = self.ship(hook.url, '--moved-to', moved, '--batch-records', '200')
            if turn % 3 == 1:
                hook.start()
        wait_until(lambda: len(set(numbers(hook.taken()))) == files.count, 'all records', 60)
        self.check_all(hook.taken(), files.count)
        self.assertNotIn('missing', self.log())

    def test_compressed_while_it_was_read(self):
        """A file of which a part was sent is found again compressed, and gone on with."""
        for compress in ('gzip', 'zstd'):
            if not shutil.which(compress):
                continue
            hook = self.receiver()
            files = Files(self.dir.sub(f'acct-{compress}'))
            self.acct, self.state = files.path, self.dir.sub(f'state-{compress}')
            files.write(500)
            self.once(hook.url)
            files.write(500)
            files.turn()
            subprocess.run([compress, '-q', files.name(0)], check=True)
            if os.path.exists(files.name(0)):
                os.unlink(files.name(0))
            files.write(10)
            self.once(hook.url)
            self.check_all(hook.taken(), 1010)
            self.assertEqual(len(hook.taken()), 1010, 'nothing was sent twice')

    def test_torn_lines(self):
        """A line without its end is no record yet; one that a crash cut is left out and kept."""
        hook = self.receiver()
        files = Files(self.acct)
        files.write(2)
        files.file.write('d,2026-11-21 04:05:06+0000,"user')
        files.file.flush()
        self.once(hook.url)
        self.assertEqual(numbers(hook.taken()), [0, 1])
        files.file.write('\r\n')
        files.write(2)
        r = self.once(hook.url)
        self.assertEqual(numbers(hook.taken()), [0, 1, 2, 3])
        self.assertIn('is not a record', r.stderr.decode())
        with open(os.path.join(self.state, 'dead-letters.json')) as f:
            self.assertEqual(json.loads(f.readline())['line'], 'd,2026-11-21 04:05:06+0000,"user')

    def test_gaps_are_said(self):
        hook = self.receiver()
        files = Files(self.acct)
        files.write(10)
        self.once(hook.url)
        files.write(10)
        for _ in range(3):
            files.turn()
            files.write(10)
        for n in range(3):
            files.old(n)
        os.unlink(files.name(0))
        os.unlink(files.name(1))
        r = self.once(hook.url, '--verbose')
        self.assertEqual(numbers(hook.taken()), list(range(10)) + list(range(30, 50)))
        text = r.stderr.decode()
        self.assertIn('records are missing: the file was deleted', text)
        self.assertIn('gaps=', text)
        self.assertNotIn('gaps=0', text)

    def test_filters(self):
        hook = self.receiver()
        files = Files(self.acct)
        files.write(2)
        files.file.write(line(7, kind='b'))
        files.file.write(line(8, kind='t'))
        files.file.flush()
        Files(self.acct, 'fast').write(3)
        self.once(hook.url, '--records', 'b,t', '--only-pipe', 'b*')
        self.assertEqual([(r['type'], r['eventId']) for r in hook.taken()],
                         [('b', 'bulk:b:0000000000007.1'), ('t', 'bulk:t:0000000000008.1:1')])

    def test_newest_and_one_name(self):
        hook = self.receiver()
        path = os.path.join(self.acct, 'acct-bulk.csv')
        with open(path, 'w', newline='') as f:
            f.write(HEADER + line(0) + line(1))
        args = [SHIP, '--follow', path, '--to', hook.url, '--state', self.state, '--once',
                '--start-at', 'newest']
        subprocess.run(args, check=True, capture_output=True, timeout=30)
        self.assertEqual(hook.taken(), [])
        os.rename(path, path + '.1')
        with open(path + '.1', 'a', newline='') as f:
            f.write(line(2))
        os.utime(path + '.1', (time.time() - 60, time.time() - 60))
        with open(path, 'w', newline='') as f:
            f.write(HEADER + line(3))
        subprocess.run(args, check=True, capture_output=True, timeout=30)
        self.assertEqual(numbers(hook.taken()), [2, 3])

    def test_certificates(self):
        make_certificate(self.dir.path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(self.dir.path, 'cert.pem'),
                                os.path.join(self.dir.path, 'key.pem'))
        hook = self.receiver(tls=context)
        Files(self.acct).write(2)
        r = self.once(hook.url, status=1)
        self.assertIn('certificate', r.stderr.decode())
        self.once(hook.url.replace('127.0.0.1', 'localhost'), '--ca-file',
                  os.path.join(self.dir.path, 'cert.pem'), status=1) # it is for the address
        self.once(hook.url, '--ca-file', os.path.join(self.dir.path, 'cert.pem'))
        self.assertEqual(numbers(hook.taken()), [0, 1])

    def test_usage(self):
        for args, text in (([], '--to is missing'),
                           (['--to', 'ftp://x'], 'no address of a sink'),
                           (['--to', 'stdout'], '--follow is missing'),
                           (['--to', 'stdout', '--batch-records', 'many'], 'batch-records'),
                           (['--nonsense', '1'], "unknown option '--nonsense'"),
                           (['--to', 'http://x/', '--follow', '/tmp/x.csv'], '--state is missing')):
            r = subprocess.run([SHIP, *args], capture_output=True, text=True, timeout=10)
            self.assertEqual(r.returncode, 2, args)
            self.assertIn(text, r.stderr)


def make_certificate(path):
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
                    '/CN=test', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout',
                    os.path.join(path, 'key.pem'), '-out', os.path.join(path, 'cert.pem')],
                   check=True, capture_output=True)


class RedisServer:
    def __init__(self, directory, *options):
        self.port = free_port()
        self.options = ['--dir', directory, '--save', '', '--appendonly', 'yes', '--appendfsync',
                        'always', *options]
        self.start()

    def start(self):
        self.process = subprocess.Popen(['redis-server', '--bind', '127.0.0.1', '--port',
                                         str(self.port), *self.options], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        wait_until(self.answers, 'redis')

    def answers(self):
        try:
            return b'PONG' in self.command('PING')  # not while it loads its file
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait()

    def command(self, *words):
        r = subprocess.run(['redis-cli', '--no-auth-warning', '-a', 'hush', '-p', str(self.port),
                            '--json', *words], capture_output=True, timeout=20)
        if r.returncode:
            raise OSError(r.stderr)
        return r.stdout

    def records(self, stream='mail'):
        rows = json.loads(self.command('XRANGE', stream, '-', '+'))
        found = []
        for _, values in rows:
            fields = values if isinstance(values, dict) else dict(zip(values[::2], values[1::2]))
            record = json.loads(fields['record'])
            assert fields['id'] == record['eventId'] and fields['pipe'] == record['pipe']
            found.append(record)
        return found


@unittest.skipUnless(shutil.which('redis-server'), 'redis-server is not installed')
class Redis(Case):
    def server(self, *options):
        s = RedisServer(self.dir.sub('redis'), '--requirepass', 'hush', *options)
        self.addCleanup(s.kill)
        self.password = os.path.join(self.dir.path, 'password')
        with open(self.password, 'w') as f:
            f.write('hush\n')
        return s

    def test_killed_and_restarted(self):
        server = self.server()
        files = Files(self.acct)
        url = f'redis://127.0.0.1:{server.port}/mail'
        process = self.ship(url, '--password-file', self.password, '--redis-max-length', '0',
                            '--batch-records', '100')
        for turn in range(6):
            files.write(2000)
            if turn % 2:
                server.kill()
                files.write(500)
                server.start()
            else:
                process.kill()
                process.wait()
                process = self.ship(url, '--password-file', self.password, '--redis-max-length',
                                    '0', '--batch-records', '100')
        wait_until(lambda: len(set(numbers(server.records()))) == files.count, 'all records', 60)
        self.check_all(server.records(), files.count)

    def test_wrong_password_and_length(self):
        server = self.server()
        files = Files(self.acct)
        files.write(3000)
        url = f'redis://127.0.0.1:{server.port}/mail'
        r = self.once(url, status=1)
        self.assertIn('NOAUTH', r.stderr.decode())
        self.once(url, '--password-file', self.password, '--redis-max-length', '1000')
        length = int(server.command('XLEN', 'mail'))
        self.assertTrue(1000 <= length < 2000, length)
        self.assertEqual(numbers(server.records())[-1], 2999)

    def test_tls(self):
        make_certificate(self.dir.path)
        cert, key = (os.path.join(self.dir.path, x) for x in ('cert.pem', 'key.pem'))
        port = free_port()
        server = self.server('--tls-port', str(port), '--tls-cert-file', cert, '--tls-key-file', key,
                             '--tls-ca-cert-file', cert, '--tls-auth-clients', 'no')
        Files(self.acct).write(1500)
        url = f'rediss://127.0.0.1:{port}/mail'
        r = self.once(url, '--password-file', self.password, status=1)
        self.assertIn('certificate', r.stderr.decode())
        self.once(url, '--password-file', self.password, '--ca-file', cert)
        self.check_all(server.records(), 1500)


class Kafka(Case):
    """Against the cluster that librdkafka brings for tests: it speaks Kafka's protocol over TCP, but is
    not Kafka's own code."""

    def cluster(self):
        p = subprocess.Popen([os.environ['KAFKA_CLUSTER']], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
        self.processes.append(p)
        self.addCleanup(p.stdin.close)
        self.addCleanup(p.stdout.close)
        return p, p.stdout.readline().split()[1]

    def tell(self, p, command):
        p.stdin.write(command + '\n')
        p.stdin.flush()
        return p.stdout.readline()

    def records(self, p):
        p.stdin.write('dump\n')
        p.stdin.flush()
        found = []
        while (row := p.stdout.readline().rstrip('\n')) != 'end':
            key, event, value = row.split('\t')
            record = json.loads(value)
            self.assertEqual(event, record['eventId'])
            self.assertEqual(key, record['pipe'])
            found.append(record)
        return found

    def test_brokers_away_and_killed(self):
        cluster, brokers = self.cluster()
        files = Files(self.acct)
        url = f'kafka://{brokers}/mail'
        more = ['--batch-records', '100', '--kafka-option', 'reconnect.backoff.max.ms=200']
        process = self.ship(url, *more)
        for turn in range(4):
            files.write(1000)
            self.tell(cluster, 'down')
            files.write(1000)
            if turn % 2:
                process.kill()
                process.wait()
                process = self.ship(url, *more)
            self.tell(cluster, 'up')
        self.tell(cluster, 'errors')  # requests are refused for a while, with errors that pass
        files.write(1000)
        wait_until(lambda: len({r['eventId'] for r in self.records(cluster)}) == files.count,
                   'all records', 60)
        self.check_all(self.records(cluster), files.count)

    def test_bad_option(self):
        Files(self.acct).write(1)
        r = self.once('kafka://127.0.0.1:1/mail', '--kafka-option', 'nonsense=1', status=1)
        self.assertIn('nonsense', r.stderr.decode())


class Sinks(unittest.TestCase):
    """A real pmtad with [event-sink]s."""

    def setUp(self):
        self.dir = Directory('pmta-ship-')
        self.hook = Receiver()
        self.sink = Sink(self.dir)
        self.moved = self.dir.sub('moved')
        acct = os.path.join(self.dir.sub('acct'), 'acct.csv')
        secret = os.path.join(self.dir.path, 'secret')
        with open(secret, 'w') as f:
            f.write('correct horse battery\n')
        os.chmod(secret, 0o600)
        self.config = f'''
[acct-file {acct}]
records = d,b,r
move-to = {self.moved}
compress = zstd
record-fields = *
[event-sink hook]
url = {self.hook.url}
signing-secret-file = {secret}
batch-delay = 50ms
retry-min = 50ms
retry-max = 300ms
[event-sink nobody]
url = http://127.0.0.1:{free_port()}/x
records = d
only-pipe = bulk
'''
        self.acct = acct
        self.pmta = Pmta(self.dir, self.sink.port, extra=self.config)

    def tearDown(self):
        self.pmta.kill()
        self.hook.stop()
        self.sink.stop()
        self.dir.remove()

    def change_config(self, old, new):
        with open(os.path.join(self.pmta.conf, '10-test.conf')) as f:
            text = f.read()
        self.assertIn(old, text)
        self.pmta.write_config('10-test.conf', text.replace(old, new))

    def finals(self):
        return {r['msgId'] for r in self.hook.taken() if r['type'] == 'd'}

    def send(self, count, pipe):
        return {self.pmta.send(f'u{i}@example.com', pipe=pipe) + '.0' for i in range(count)}

    def test_events_of_pmtad(self):
        self.pmta.start()
        sent = self.send(10, 'bulk') | self.send(5, 'transactional')
        wait_until(lambda: len(self.finals()) == 15, 'records of the first mail')
        wait_until(lambda: self.pmta.pids().get('ship/hook'), 'the shipper')
        # both die; mail goes on
        os.kill(self.pmta.pids()['ship/hook'], signal.SIGKILL)
        self.hook.stop()
        sent |= self.send(10, 'bulk')
        self.pmta.wait_empty()
        failing = wait_until(lambda: [o for o in self.pmta.admin('show-events *') if
                                      o.get('sink') == 'hook' and o['state'] == 'failing' and
                                      o['records_behind'] > 0 and 'failing_since_ms' in o],
                             'trouble in show events')
        self.assertTrue(failing[0]['why'])
        text = subprocess.run([os.path.join(BIN, 'pmtactl'), '--socket', self.pmta.socket, 'show',
                               'events'], capture_output=True, text=True, timeout=20).stdout
        self.assertIn('hook', text)
        self.assertIn('failing', text)
        # new columns: new files; the old ones are compressed and moved before they were sent
        self.change_config('record-fields = *', 'record-fields = *,header_Subject')
        self.pmta.admin('reload *')
        wait_until(lambda: any(x.endswith('.zst') for x in os.listdir(self.moved)), 'a finished file')
        sent |= self.send(3, 'bulk')
        self.pmta.wait_empty()
        self.hook.start()
        wait_until(lambda: len(self.finals()) == 28, 'all records', 60)
        self.assertEqual(self.finals(), sent)
        ids = {}
        for r in self.hook.taken():
            self.assertEqual(ids.setdefault(r['eventId'], r), r)
        self.assertTrue(any(r.get('header_Subject') == 'test' for r in self.hook.taken()))
        ok = wait_until(lambda: [o for o in self.pmta.admin('show-events * {"sink":"hook"}') if
                                 o.get('state') == 'ok' and o['records_behind'] == 0], 'all is well')
        self.assertEqual({p['pipe'] for p in ok[0]['pipes']}, {'bulk', 'transactional'})
        self.assertEqual(ok[0]['gaps'], 0)
        # the pipe was told what is still needed
        label = os.path.dirname(self.acct)
        self.assertTrue(wait_until(lambda: os.path.exists(
            os.path.join(label, '.acct-bulk.keep-hook')), 'the note for the pipe'))
        self.assertEqual(self.pmta.stop(), 0)

    def test_default_files(self):
        self.change_config(
            self.config, f'[event-sink hook]\nurl = {self.hook.url}\nbatch-delay = 20ms\n')
        self.pmta.start()
        sent = self.send(5, 'bulk')
        wait_until(lambda: self.finals() == sent, 'records')
        self.assertEqual(self.pmta.stop(), 0)

    def test_wrong_configuration(self):
        for text, expected in (('[event-sink a]\n', 'has no url'),
                               ('[event-sink a]\nurl = ftp://x\n', 'no address of a sink'),
                               ('[event-sink a]\nurl = stdout\n', 'command line'),
                               ('[event-sink a]\nurl = http://x/\nkafka-key = pipe\n',
                                'kafka-key does nothing here'),
                               ('[event-sink a]\nurl = http://x/\nacct-file = /x.csv\n',
                                'there is no [acct-file /x.csv]'),
                               ('[event-sink a]\nurl = http://x/\nhttp-header = nonsense\n',
                                'no header field'),
                               ('[event-sink a b]\nurl = http://x/\n', "not a sink's name"),
                               ('[event-sink a]\nurl = redis://x\n', 'no address of a sink'),
                               ('[event-sink a]\nurl = kafka://x:9092/t\nkafka-option = x\n',
                                'no property'),
                               ('[event-sink a]\nurl = http://x/\nretry-min = 2m\nretry-max = 1m\n',
                                'more than retry-max')):
            self.pmta.write_config('20-sinks.conf', text)
            r = subprocess.run([os.path.join(BIN, 'pmtad'), '-c', self.pmta.conf, '--check'],
                               capture_output=True, text=True, timeout=20)
            self.assertNotEqual(r.returncode, 0, text)
            self.assertIn('20-sinks.conf:', r.stdout + r.stderr, text)
            self.assertIn(expected, r.stdout + r.stderr, text)


if __name__ == '__main__':
    unittest.main()
