#!/usr/bin/env python3
"""Mail from a client through the real processes to a receiving side: routing to pipes, smuggling,
replies and retries, pauses, TLS and AUTH in, TLS out, limits, reload, isolation."""
import base64
import os
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from pmta import BIN, Directory, Pmta, Sink, free_port, wait_until  # noqa: E402


def make_certificate(directory):
    cert, key = os.path.join(directory.path, 'cert.pem'), os.path.join(directory.path, 'key.pem')
    subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', key, '-out',
                    cert, '-days', '2', '-subj', '/CN=mta.test.example'], check=True,
                   stderr=subprocess.DEVNULL)
    return cert, key


class World(unittest.TestCase):
    sink_args = ()
    options = {}

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.saved = self.dir.sub('saved')
        self.sink = Sink(self.dir, args=['--save', self.saved, *self.sink_args])
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, **self.options)
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def saved_messages(self):
        texts = []
        for name in sorted(n for n in os.listdir(self.saved) if n.endswith('.eml')):
            with open(os.path.join(self.saved, name), 'rb') as f:
                texts.append(f.read())
        return texts

    def wait_saved(self, count):
        return wait_until(lambda: (t := self.saved_messages()) and len(t) >= count and t,
                          f'{count} messages at the receiving side')

    def delivered(self, pipe):
        """The first d record of a pipe; it is on disk a moment after the delivery."""
        rows = wait_until(lambda: [r for r in self.pmta.records(pipe) if r['type'] == 'd'], 'a d record')
        return rows[0]

    def raw(self, *chunks):
        """Sends bytes as they are after a whole dialogue up to DATA; returns the last replies."""
        with socket.create_connection(('127.0.0.1', self.pmta.port), timeout=20) as s:
            f = s.makefile('rb')
            f.readline()
            for line in (b'HELO x\r\n', b'MAIL FROM:<a@b.example>\r\n', b'RCPT TO:<c@d.example>\r\n',
                         b'DATA\r\n'):
                s.sendall(line)
                f.readline()
            for chunk in chunks:
                s.sendall(chunk)
            reply = f.readline()
            s.sendall(b'QUIT\r\n')
            return reply, f.readline()


class Routing(World):
    def test_x_pipe_is_honoured_and_removed(self):
        self.pmta.send('a@x.example', pipe='transactional')
        self.pmta.send('b@x.example', pipe='bulk')
        for text in self.wait_saved(2):
            self.assertNotIn(b'x-pipe', text.lower())
            self.assertIn(b'\nReceived: from', b'\n' + text)
        books = self.pmta.wait_empty()
        self.assertEqual(books['transactional']['delivered'], 1)
        self.assertEqual(books['bulk']['delivered'], 1)
        row = self.delivered('transactional')
        self.assertEqual(row['rcpt'], 'a@x.example')
        self.assertEqual(row['dsnAction'], 'relayed')
        self.assertTrue(row['dsnStatus'].startswith('2.'))
        self.assertEqual(row['queue'], 'x.example/default')

    def test_unknown_pipe_is_refused(self):
        with self.assertRaises(smtplib.SMTPResponseException) as caught:
            self.pmta.send('a@x.example', pipe='nowhere')
        self.assertEqual(caught.exception.smtp_code, 550)
        self.assertIn(b'5.7.1', caught.exception.smtp_error)

    def test_default_pipe_is_the_first(self):
        self.pmta.send('a@x.example')
        self.assertEqual(self.pmta.wait_empty()['transactional']['received'], 1)

    def test_many_recipients_go_in_one_transaction(self):
        self.pmta.send([f'u{i}@x.example' for i in range(30)] + ['z@y.example'])
        self.pmta.wait_empty()
        self.assertEqual(len(self.wait_saved(2)), 2)

    def test_swaks_and_large_messages(self):
        path = os.path.join(self.dir.path, 'big')
        with open(path, 'wb') as f:
            f.write(b'Subject: big\r\nX-Pipe: bulk\r\n\r\n' +
                    b''.join(b'.%063d\r\n' % i for i in range(40000)))
        subprocess.run(['swaks', '--server', f'127.0.0.1:{self.pmta.port}', '--from', 'a@b.example',
                        '--to', 'c@d.example', '--data', '@' + path, '--suppress-data'], check=True,
                       stdout=subprocess.DEVNULL)
        self.delivered('bulk')  # the sink has written all of it
        text = self.wait_saved(1)[0]
        lines = text.replace(b'\r\n', b'\n').split(b'\n')
        self.assertIn(b'.%063d' % 39999, lines)
        self.assertEqual(sum(x.startswith(b'.0') for x in lines), 40000)
        self.assertGreater(int(self.delivered('bulk')['dlvSize']), 40000 * 66)


class HalfClosed(World):
    """A client may end its side of the connection behind its last command and wait for the replies."""

    def dialogue(self, bodies):
        text = b'HELO x\r\n'
        for body in bodies:
            text += (b'MAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.example>\r\nDATA\r\nSubject: x\r\n\r\n' +
                     body + b'\r\n.\r\n')
        with socket.create_connection(('127.0.0.1', self.pmta.port), timeout=20) as s:
            threading.Thread(target=lambda: (s.sendall(text + b'QUIT\r\n'),
                                             s.shutdown(socket.SHUT_WR))).start()
            replies = s.makefile('rb').read().decode().splitlines()
        return [r[:3] for r in replies]

    def check(self, bodies):
        self.assertEqual(self.dialogue(bodies),
                         ['220', '250'] + ['250', '250', '354', '250'] * len(bodies) + ['221'])
        self.wait_saved(len(bodies))
        self.assertEqual(self.pmta.wait_empty()['transactional']['received'], len(bodies))

    def test_one_message(self):
        self.check([b'hello'])

    def test_several_of_all_sizes(self):
        line = b'x' * 70 + b'\r\n'
        self.check([b'hello', line * 30000, line * 1000, b'there', line * 10000])

    def test_nothing_is_under_way(self):
        with socket.create_connection(('127.0.0.1', self.pmta.port), timeout=20) as s:
            s.sendall(b'HELO x\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<c@d.exam')
            s.shutdown(socket.SHUT_WR)
            self.assertEqual([r[:3] for r in s.makefile('rb').read().decode().splitlines()],
                             ['220', '250', '250'])


class Smuggling(World):
    def test_only_crlf_dot_crlf_ends_a_message(self):
        inner = b'MAIL FROM:<evil@b.example>\r\nRCPT TO:<v@d.example>\r\nDATA\r\nSubject: evil\r\n\r\nx'
        for end in (b'\n.\n', b'\r.\r', b'\n.\r\n', b'\r\n.\n', b'\r.\r\n', b'\r\n.\r', b'\n.\r'):
            with self.subTest(end=end):
                reply, quit_reply = self.raw(b'Subject: a\r\n\r\nbody' + end + inner + b'\r\n.\r\n')
                self.assertRegex(reply, rb'^550 5\.6\.0')
                self.assertTrue(quit_reply.startswith(b'221'))
        self.assertEqual(self.pmta.wait_empty()['transactional']['received'], 0)

    def test_dots_survive(self):
        self.raw(b'Subject: dots\r\n\r\n..one\r\n...two\r\nend\r\n.\r\n')
        text = self.wait_saved(1)[0].replace(b'\r\n', b'\n')
        self.assertIn(b'\n.one\n..two\nend', text)


class Replies(World):
    sink_args = ('--personality', '')

    def setUp(self):
        d = Directory()
        self.addCleanup(d.remove)
        path = os.path.join(d.path, 'p.ini')
        with open(path, 'w') as f:
            f.write('[bounce.example]\nfault = rcpt:550:100:5.1.1 no such user\n'
                    '[grey.example]\ngreylist = 200ms\n'
                    '[later.example]\nfault = rcpt:450:100:4.2.1 come back\n'
                    '[lost.example]\nfault = eod:drop:100\n')
        self.sink_args = ('--personality', path)
        self.options = {'domain': '[domain later.example]\nbounce-after = 1s\nretry-after = 300ms\n'}
        super().setUp()

    def test_outcomes_become_records(self):
        self.pmta.send(['a@bounce.example', 'b@good.example', 'c@grey.example', 'd@later.example'],
                       pipe='bulk')
        books = self.pmta.wait_empty()['bulk']
        self.assertEqual((books['delivered'], books['bounced'], books['expired']), (2, 1, 1))
        rows = wait_until(lambda: (r := self.pmta.records()) and
                          len([x for x in r if x['type'] in 'db']) == 4 and r, 'four final records')
        final = {r['rcpt']: r for r in rows if r['type'] in 'db'}
        self.assertEqual(final['a@bounce.example']['dsnAction'], 'failed')
        self.assertEqual(final['a@bounce.example']['dsnStatus'], '5.1.1')
        self.assertIn('no such user', final['a@bounce.example']['dsnDiag'])
        self.assertEqual(final['d@later.example']['dsnAction'], 'expired')
        self.assertIn('come back', final['d@later.example']['dsnDiag'])
        self.assertTrue([r for r in rows if r['type'] == 't' and r['rcpt'] == 'c@grey.example'])
        self.assertEqual(len([r for r in rows if r['type'] == 'r']), 4)

    def test_why_names_the_reply(self):
        self.pmta.admin('pause-queue pipe/bulk {"queue":"slow.example"}')
        queue_id = self.pmta.send(['s@slow.example', 'x@lost.example'], pipe='bulk')

        def answer():
            for o in self.pmta.admin('why * {"id":"%s"}' % queue_id):
                if 'rcpts' in o:
                    return {r['address']: r for r in o['rcpts']}
            return None
        why = wait_until(lambda: (a := answer()) and a.get('x@lost.example', {}).get('because') and a,
                         'the reason of a lost connection')
        self.assertIn('paused', why['s@slow.example']['waits_for'])
        self.assertIn('the final dot was sent', why['x@lost.example']['because'])
        self.assertRegex(why['x@lost.example']['where'], r'10-test\.conf:\d+')


class Operators(World):
    def test_a_pause_survives_a_restart(self):
        self.pmta.admin('pause-pipe pipe/bulk')
        self.pmta.admin('pause-queue pipe/transactional {"queue":"x.example"}')
        self.pmta.send('a@x.example', pipe='bulk')
        self.pmta.send('b@x.example', pipe='transactional')
        self.pmta.send('c@y.example', pipe='transactional')
        self.wait_saved(1)
        self.assertEqual(self.pmta.stop(), 0)
        self.pmta.start()
        books = self.pmta.ledger()
        self.assertEqual((books['bulk']['queued'], books['transactional']['queued']), (1, 1))
        self.pmta.admin('resume-pipe pipe/bulk')
        self.pmta.admin('resume-queue pipe/transactional {"queue":"x.example"}')
        self.pmta.wait_empty()
        self.assertEqual(len(self.wait_saved(3)), 3)

    def test_delete_is_counted(self):
        self.pmta.admin('pause-pipe pipe/bulk')
        for i in range(5):
            self.pmta.send([f'u{i}@x.example', f'u{i}@y.example'], pipe='bulk', headers='X-Job: j1\r\n')
        for dry, deleted in (('true', 0), ('false', 5)):
            line = 'delete pipe/bulk {"queue":"x.example","job":"j1","dry_run":%s}' % dry
            o = self.pmta.admin(line)[0]
            self.assertEqual((o['matched'], o['deleted']), (5, deleted))
        books = self.pmta.ledger()['bulk']
        self.assertEqual((books['deleted'], books['queued']), (5, 5))
        self.assertTrue(books['balanced'])

    def test_reload_changes_limits_and_refuses_nonsense(self):
        self.pmta.write_config('90-more.conf', '[domain x.example]\nmax-smpt-out = 3\n')
        answer = self.pmta.admin('reload root')
        self.assertFalse(answer[-1]['ok'])
        text = str(answer)
        self.assertIn('90-more.conf:2', text)
        self.assertIn("did you mean 'max-smtp-out'", text)
        self.pmta.write_config('90-more.conf', '[domain x.example]\nmax-smtp-out = 3\n')
        self.assertTrue(self.pmta.admin('reload root')[-1]['ok'])
        rows = [o for o in self.pmta.admin('config-explain pipe/bulk {"domain":"x.example"}')
                if o.get('directive') == 'max-smtp-out']
        self.assertEqual(rows[0]['value'], '3')
        self.assertIn('90-more.conf', rows[0]['file'])
        self.pmta.send('a@x.example', pipe='bulk')
        self.pmta.wait_empty()


    def test_a_removed_listener_stops_listening(self):
        port = free_port()
        self.pmta.write_config('90-more.conf', f'[listener more]\naddress = 127.0.0.1:{port}\n')
        self.assertTrue(self.pmta.admin('reload root')[-1]['ok'])

        def answers():
            try:
                with smtplib.SMTP('127.0.0.1', port, timeout=5):
                    return True
            except OSError:
                return False
        wait_until(answers, 'the new listener to answer')
        os.unlink(os.path.join(self.pmta.conf, '90-more.conf'))
        self.assertTrue(self.pmta.admin('reload root')[-1]['ok'])
        wait_until(lambda: not answers(), 'the removed listener to be gone')


class Full(World):
    options = {'extra': '[pipe small]\nmax-queued = 3\n'}

    def test_a_full_pipe_refuses_and_others_do_not(self):
        self.pmta.admin('pause-pipe pipe/small')
        for i in range(3):
            self.pmta.send(f'u{i}@x.example', pipe='small')
        with self.assertRaises(smtplib.SMTPResponseException) as caught:
            self.pmta.send('u4@x.example', pipe='small')
        self.assertEqual(caught.exception.smtp_code, 452)
        self.assertIn(b'4.3.1', caught.exception.smtp_error)
        self.pmta.send('a@x.example', pipe='bulk')


class Limits(World):
    options = {'source': 'max-smtp-in = 2\nidle-timeout-in = 1s\n', 'pmta': ''}

    def test_connections_of_a_source_and_silence(self):
        greetings = []
        for _ in range(12):  # two receivers, two connections each: more than eight cannot all be served
            s = socket.create_connection(('127.0.0.1', self.pmta.port), timeout=20)
            self.addCleanup(s.close)
            greetings.append((s.recv(200), s))
        refused = [g for g, _ in greetings if g.startswith(b'421')]
        self.assertGreaterEqual(len(refused), 12 - 4)
        self.assertIn(b'4.7.0', refused[0])
        served = [s for g, s in greetings if g.startswith(b'220')]
        self.assertGreaterEqual(len(served), 1)
        self.assertTrue(served[0].recv(200).startswith(b'421 4.4.2'))  # it said nothing for a second


class Tls(unittest.TestCase):
    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        self.cert, self.key = make_certificate(self.dir)
        hashed = subprocess.run([os.path.join(BIN, 'pmtactl'), 'hash-password'], input='secret\n',
                                text=True, stdout=subprocess.PIPE, check=True).stdout.strip()
        self.sink = Sink(self.dir)
        self.addCleanup(self.sink.stop)
        self.tls_port = free_port()
        self.pmta = Pmta(
            self.dir, self.sink.port,
            listener=f'tls-certificate = {self.cert}\ntls-key = {self.key}\nsource = clients\n',
            extra=f'[listener implicit]\naddress = 127.0.0.1:{self.tls_port}\ntls-implicit = yes\n'
                  f'tls-certificate = {self.cert}\ntls-key = {self.key}\nsource = clients\n'
                  f'[source clients]\nalways-allow-relaying = no\n[smtp-user app]\npassword = {hashed}\npipe = bulk\n')
        self.addCleanup(self.pmta.kill)
        self.pmta.start()
        self.context = ssl.create_default_context(cafile=self.cert)
        self.context.check_hostname = False

    def send_as(self, s, password):
        s.login('app', password)
        s.sendmail('a@b.example', ['c@d.example'], 'Subject: x\r\n\r\nhello\r\n')

    def test_starttls_auth_and_relaying(self):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            self.context.minimum_version = self.context.maximum_version = version
            with smtplib.SMTP('127.0.0.1', self.pmta.port, timeout=20) as s:
                s.ehlo()
                self.assertNotIn('auth', s.esmtp_features)
                s.starttls(context=self.context)
                s.ehlo()
                self.assertIn('auth', s.esmtp_features)
                self.assertNotIn('starttls', s.esmtp_features)
                self.send_as(s, 'secret')
        with smtplib.SMTP_SSL('127.0.0.1', self.tls_port, timeout=20, context=self.context) as s:
            self.send_as(s, 'secret')
        self.assertEqual(self.pmta.wait_empty()['bulk']['delivered'], 3)

    def test_wrong_password_and_no_relay(self):
        with smtplib.SMTP('127.0.0.1', self.pmta.port, timeout=20) as s:
            s.ehlo()
            s.mail('a@b.example')
            code, text = s.rcpt('c@d.example')
            self.assertEqual(code, 550)
            self.assertIn(b'5.7.1', text)
            s.rset()
            s.starttls(context=self.context)
            with self.assertRaises(smtplib.SMTPAuthenticationError):
                s.login('app', 'wrong')

    def test_plain_text_after_starttls_is_not_obeyed(self):
        with socket.create_connection(('127.0.0.1', self.pmta.port), timeout=20) as s:
            s.recv(1000)
            s.sendall(b'EHLO x\r\n')
            s.recv(4000)
            s.sendall(b'STARTTLS\r\nMAIL FROM:<injected@b.example>\r\n')
            reply = s.recv(1000)
            if not reply.startswith(b'220'):
                return  # refusing the whole is right too
            self.assertEqual(reply.count(b'\r\n'), 1)
            t = self.context.wrap_socket(s)
            t.sendall(b'EHLO x\r\nRCPT TO:<c@d.example>\r\n')
            data = b''
            while b'RCPT' not in data and b'503' not in data:
                part = t.recv(4000)
                if not part:
                    break
                data += part
            self.assertIn(b'503', data)  # no transaction: the injected MAIL was thrown away


class TlsOut(unittest.TestCase):
    """A receiving side with STARTTLS in Python; encrypted when offered, in clear when it is broken."""

    def serve(self, broken):
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)
        seen = {'tls': 0, 'clear': 0}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.pair)

        def session(s):
            tls = False
            f = s.makefile('rb')
            s.sendall(b'220 sink.example ESMTP\r\n')
            while True:
                line = f.readline()
                verb = line[:4].upper()
                if not line:
                    return
                if verb == b'EHLO':
                    s.sendall(b'250-sink.example\r\n' + (b'' if tls else b'250-STARTTLS\r\n') +
                              b'250 PIPELINING\r\n')
                elif verb == b'STAR':
                    s.sendall(b'220 go\r\n')
                    if broken:
                        s.sendall(b'this is no handshake\r\n')
                        s.close()
                        return
                    s = context.wrap_socket(s, server_side=True)
                    f = s.makefile('rb')
                    tls = True
                elif verb == b'DATA':
                    s.sendall(b'354 go\r\n')
                    while f.readline() not in (b'.\r\n', b''):
                        pass
                    seen['tls' if tls else 'clear'] += 1
                    s.sendall(b'250 2.0.0 ok\r\n')
                elif verb == b'QUIT':
                    s.sendall(b'221 bye\r\n')
                    return
                else:
                    s.sendall(b'250 ok\r\n')

        def accept_all():
            while True:
                try:
                    s, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=self.quiet, args=(session, s), daemon=True).start()
        threading.Thread(target=accept_all, daemon=True).start()
        return listener.getsockname()[1], seen

    @staticmethod
    def quiet(session, s):
        try:
            session(s)
        except OSError:
            pass

    def run_one(self, broken):
        d = Directory()
        self.addCleanup(d.remove)
        self.pair = make_certificate(d)
        port, seen = self.serve(broken)
        pmta = Pmta(d, port)
        self.addCleanup(pmta.kill)
        pmta.start()
        pmta.send('a@x.example', pipe='bulk')
        pmta.wait_empty()
        return seen, pmta.log_text()

    def test_encrypts_when_offered(self):
        seen, log = self.run_one(False)
        self.assertEqual(seen, {'tls': 1, 'clear': 0})
        self.assertRegex(log, r'tls=TLSv1\.[23]/')

    def test_broken_tls_goes_in_clear(self):
        seen, _ = self.run_one(True)
        self.assertEqual(seen, {'tls': 0, 'clear': 1})


class Source(unittest.TestCase):
    def test_connections_leave_from_the_virtual_mtas_addresses(self):
        d = Directory()
        self.addCleanup(d.remove)
        seen = []
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    s, peer = listener.accept()
                except OSError:
                    return
                s.sendall(b'220 sink\r\n')
                seen.append((peer[0], s.recv(1000).decode().strip()))
                s.close()
        threading.Thread(target=serve, daemon=True).start()
        pmta = Pmta(d, listener.getsockname()[1],
                    extra='[virtual-mta mta1]\nsmtp-source-host = 127.0.0.5 out5.example\n'
                          'smtp-source-host = 127.0.0.6 out6.example\n')
        self.addCleanup(pmta.kill)
        pmta.start()
        pmta.send('a@x.example', pipe='bulk', headers='X-Virtual-MTA: mta1\r\n')
        wait_until(lambda: len(set(seen)) >= 2, 'connections from both addresses')
        self.assertEqual(set(seen), {('127.0.0.5', 'EHLO out5.example'),
                                     ('127.0.0.6', 'EHLO out6.example')})


class SourceGroups(World):
    options = {'source': 'source-group = apps\n',
               'extra': '[source-group apps]\nprocess-x-remote-mta-name = yes\n'
                        'process-x-schedule = yes\nprocess-x-delivery-priority = yes\n'}

    def test_group_gives_its_settings(self):
        self.pmta.send('a@x.example', pipe='bulk', headers='X-Remote-MTA-Name: app7.example\r\n'
                                                           'X-Delivery-Priority: 90\r\n')
        self.pmta.send('b@x.example', pipe='bulk')
        wait_until(lambda: len([r for r in self.pmta.records() if r['type'] == 'd']) == 2, 'd records')
        self.assertEqual({(r['rcpt'], r['srcMta']) for r in self.pmta.records()},
                         {('a@x.example', 'app7.example'), ('b@x.example', 'client.example')})
        self.assertFalse([t for t in self.saved_messages() if b'X-Remote' in t or b'X-Delivery' in t])

    def test_bad_values_are_refused(self):
        for line, why in (('X-Schedule: soon', b"550 5.6.0 X-Schedule: 'soon' is not a window"),
                          ('X-Delivery-Priority: 101', b'550 5.6.0 X-Delivery-Priority is not')):
            with self.assertRaises(smtplib.SMTPResponseException) as caught:
                self.pmta.send('a@x.example', pipe='bulk', headers=line + '\r\n')
            e = caught.exception
            self.assertIn(why, b'%d ' % e.smtp_code + e.smtp_error)
        self.assertEqual(self.pmta.ledger()['bulk']['received'], 0)


@unittest.skipUnless(shutil.which('smtp-sink', path='/usr/sbin:/usr/bin'), 'postfix is not installed')
class SmtpSink(unittest.TestCase):
    """Postfix's own receiving side, with and without pipelining and ESMTP."""

    def test_dialects(self):
        d = Directory()
        self.addCleanup(d.remove)
        for flags in ([], ['-p'], ['-e'], ['-8']):
            with self.subTest(flags=flags):
                port = free_port()
                sink = subprocess.Popen(['/usr/sbin/smtp-sink', *flags, '-u', 'nobody',
                                         f'127.0.0.1:{port}', '100'], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    sub = Directory()
                    self.addCleanup(sub.remove)
                    pmta = Pmta(sub, port)
                    pmta.start()
                    for i in range(10):
                        pmta.send([f'a{i}@x.example', f'b{i}@x.example'], pipe='bulk')
                    self.assertEqual(pmta.wait_empty()['bulk']['delivered'], 20)
                    self.assertEqual(pmta.stop(), 0)
                finally:
                    pmta.kill()
                    sink.terminate()
                    sink.wait(10)


class Install(unittest.TestCase):
    def test_an_installed_tree_runs_from_where_it_stands(self):
        top = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
        d = Directory()
        self.addCleanup(d.remove)
        subprocess.run(['make', '-C', top, 'install', f'DESTDIR={d.path}'], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        root = os.path.join(d.path, 'usr', 'local')
        for name in ('bin/pmtactl', 'bin/pmta-sink', 'bin/pmta-flood', 'bin/pmta-spool',
                     'sbin/pmtad', 'libexec/pmta/pmta-pipe', 'libexec/pmta/pmta-receiver',
                     'libexec/pmta/pmta-resolver'):
            self.assertTrue(os.path.exists(os.path.join(root, name)), name)
        pmta = Pmta(d, free_port(), program=os.path.join(root, 'sbin', 'pmtad'))
        self.addCleanup(pmta.kill)
        pmta.start()
        exe = os.readlink(f'/proc/{pmta.pids()["pipe/bulk"]}/exe')
        self.assertEqual(os.path.realpath(exe),
                         os.path.realpath(os.path.join(root, 'libexec/pmta/pmta-pipe')))
        self.assertEqual(pmta.stop(), 0)


NSD = shutil.which('nsd') or '/usr/sbin/nsd'
ZONE = """$ORIGIN dns.test.
$TTL 300
@ IN SOA ns hostmaster 1 3600 900 86400 60
@ IN NS ns
ns IN A 127.0.0.1
two IN MX 5 closed
two IN MX 10 open
closed IN A 127.0.0.77
open IN A 127.0.0.1
plain IN A 127.0.0.1
none IN MX 0 .
text IN TXT "no mail here"
"""


@unittest.skipUnless(os.path.exists(NSD), 'nsd is not installed')
class Dns(unittest.TestCase):
    """Routing by a real zone on a real name server."""

    def setUp(self):
        self.dir = Directory()
        self.addCleanup(self.dir.remove)
        d, port = self.dir.sub('nsd'), free_port()
        with open(f'{d}/zone', 'w') as f:
            f.write(ZONE)
        with open(f'{d}/nsd.conf', 'w') as f:
            f.write(f'server:\n ip-address: 127.0.0.1@{port}\n username: ""\n chroot: ""\n'
                    f' server-count: 1\n zonesdir: "{d}"\n database: ""\n'
                    f' zonelistfile: "{d}/zone.list"\n xfrdfile: "{d}/xfrd"\n xfrdir: "{d}"\n'
                    f' pidfile: "{d}/pid"\n logfile: "{d}/log"\n rrl-ratelimit: 0\n'
                    'remote-control:\n control-enable: no\n'
                    'zone:\n name: dns.test\n zonefile: zone\n')
        nsd = subprocess.Popen([NSD, '-d', '-c', f'{d}/nsd.conf'], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (nsd.terminate(), nsd.wait(10)))
        self.sink = Sink(self.dir)
        self.addCleanup(self.sink.stop)
        self.pmta = Pmta(self.dir, self.sink.port, pmta=f'name-server = 127.0.0.1:{port}\n',
                         domain='[domain *.dns.test]\nsmtp-hosts = ""\n'
                                f'smtp-port = {self.sink.port}\n')
        self.addCleanup(self.pmta.kill)
        self.pmta.start()

    def test_the_zone_decides(self):
        self.pmta.send(['a@two.dns.test', 'b@plain.dns.test', 'c@none.dns.test', 'd@nowhere.dns.test',
                        'e@text.dns.test'], pipe='bulk')
        self.pmta.wait_empty()
        rows = wait_until(lambda: (r := [x for x in self.pmta.records() if x['type'] in 'db']) and
                          len(r) == 5 and r, 'five final records')
        status = {r['rcpt']: r['dsnStatus'] for r in rows}
        mta = {r['rcpt']: r['dsnMta'] for r in rows}
        self.assertEqual(mta['a@two.dns.test'], 'open.dns.test (127.0.0.1)')
        self.assertIn('host could not be used', self.pmta.log_text())
        self.assertEqual(mta['b@plain.dns.test'], 'plain.dns.test (127.0.0.1)')
        self.assertEqual(status['c@none.dns.test'], '5.1.10')
        self.assertEqual(status['d@nowhere.dns.test'], '5.1.2')
        self.assertEqual(status['e@text.dns.test'], '5.4.4')


class Isolation(World):
    def test_flooding_and_killing_bulk_leaves_transactional_alone(self):
        stop = threading.Event()

        def flood():
            while not stop.is_set():
                try:
                    with self.pmta.smtp() as s:
                        s.ehlo()
                        for _ in range(100):
                            s.sendmail('f@b.example', ['f@flood.example'],
                                       'X-Pipe: bulk\r\nSubject: f\r\n\r\nx\r\n')
                            if stop.is_set():
                                return
                except (OSError, smtplib.SMTPException):
                    stop.wait(0.01)
        threads = [threading.Thread(target=flood, daemon=True) for _ in range(4)]
        for t in threads:
            t.start()
        for i in range(60):
            if i % 20 == 10:
                pid = wait_until(lambda: self.pmta.pids().get('pipe/bulk'), 'bulk to run')
                os.kill(pid, signal.SIGKILL)
            self.pmta.send(f't{i}@x.example', pipe='transactional')  # raises when it is not taken
        stop.set()
        for t in threads:
            t.join(20)
        books = self.pmta.wait_empty()
        self.assertEqual(books['transactional']['delivered'], 60)
        self.assertTrue(books['bulk']['balanced'])
        self.assertEqual(len(re.findall(r'pipe/transactional.* died', self.pmta.log_text())), 0)

    def test_a_pipe_that_is_down_gets_451(self):
        pid = self.pmta.pids()['pipe/bulk']
        os.kill(pid, signal.SIGSTOP)  # not dead for root, so that nobody starts it again
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.pmta.send('a@x.example', pipe='transactional')


@unittest.skipUnless(os.geteuid() == 0, 'a small file system can only be mounted by root')
class DiskFull(unittest.TestCase):
    def test_full_disk_refuses_and_recovers(self):
        d = Directory()
        self.addCleanup(d.remove)
        small = d.sub('spool')
        subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=24m,mode=777', 'none', small], check=True)
        self.addCleanup(subprocess.run, ['umount', '-l', small])
        sink = Sink(d)
        self.addCleanup(sink.stop)
        pmta = Pmta(d, sink.port, pmta='min-free-space = 0\n')
        self.addCleanup(pmta.kill)
        pmta.start()
        pmta.admin('pause-pipe pipe/bulk')
        accepted, refused, body = 0, None, 'x' * 70 + '\r\n'
        for _ in range(200):
            try:
                pmta.send('a@x.example', pipe='bulk', body=body * 6000)
                accepted += 1
            except smtplib.SMTPResponseException as e:
                refused = e
                break
        self.assertIsNotNone(refused)
        self.assertIn(refused.smtp_code, (451, 452))
        self.assertGreater(accepted, 3)
        pmta.admin('resume-pipe pipe/bulk')
        books = pmta.wait_empty()['bulk']
        self.assertEqual(books['delivered'], accepted)
        wait_until(lambda: self.try_send(pmta), 'the pipe to accept again')
        pmta.wait_empty()

    @staticmethod
    def try_send(pmta):
        try:
            return pmta.send('b@x.example', pipe='bulk')
        except smtplib.SMTPResponseException:
            return None


class Start(unittest.TestCase):
    def check(self, text):
        d = Directory()
        self.addCleanup(d.remove)
        with open(os.path.join(d.sub('c'), 'a.conf'), 'w') as f:
            f.write(text)
        p = subprocess.run([os.path.join(BIN, 'pmtad'), '--check', '-c', os.path.join(d.path, 'c')],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        return p.returncode, p.stdout

    def test_check_names_file_line_and_the_nearest_name(self):
        status, text = self.check('[pipe bulk]\nmax-queud = 5\n[listener 127.0.0.1:2525]\n')
        self.assertEqual(status, 1)
        self.assertRegex(text, r"a\.conf:2: .*max-queud.*did you mean 'max-queued'")

    def test_shipped_configuration_is_good(self):
        conf = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..', 'config.d')
        p = subprocess.run([os.path.join(BIN, 'pmtad'), '--check', '-c', conf], timeout=20)
        self.assertEqual(p.returncode, 0)

    def test_second_pmtad_says_so_in_one_line(self):
        d = Directory()
        self.addCleanup(d.remove)
        pmta = Pmta(d, free_port())
        self.addCleanup(pmta.kill)
        pmta.start()
        p = subprocess.run([os.path.join(BIN, 'pmtad'), '-c', pmta.conf], timeout=30,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(p.returncode, 1)
        self.assertEqual(len([x for x in p.stdout.splitlines() if 'pmtad:' in x or 'error' in x]), 1,
                         p.stdout)
        self.assertEqual(pmta.stop(), 0)

    def test_newer_spool_is_refused_with_a_sentence(self):
        d = Directory()
        self.addCleanup(d.remove)
        pmta = Pmta(d, free_port())
        self.addCleanup(pmta.kill)
        pmta.start()
        self.assertEqual(pmta.stop(), 0)
        path = os.path.join(pmta.spool, 'bulk', 'format')
        with open(path) as f:
            text = f.read()
        with open(path, 'w') as f:
            f.write(re.sub(r'\d+', '999', text, count=1))
        pmta.start(wait=False)
        self.assertEqual(pmta.process.wait(30), 1)
        self.assertRegex(pmta.log_text(), r'999')
        shutil.rmtree(os.path.join(pmta.spool, 'bulk'))


if __name__ == '__main__':
    unittest.main()
