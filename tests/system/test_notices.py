#!/usr/bin/env python3
"""Delivery notices end to end: real processes, a peer that refuses and keeps what it takes, and parsers
that know nothing of this project."""
import csv
import email
import email.policy
import glob
import json
import os
import quopri
import shutil
import signal
import smtplib
import socket
import subprocess
import threading
import time
import unittest

from pmta import BIN, Directory, Pmta, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))


class Peer(threading.Thread):
    """Refuses recipients that begin with 'no' (550) or 'later' (450), takes and keeps all others."""

    def __init__(self, extensions=()):
        super().__init__(daemon=True)
        self.extensions = extensions
        self.mail = []  # (sender, rcpts with parameters, content)
        self.commands = []
        self.listener = socket.create_server(('127.0.0.1', 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                conn, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(conn,), daemon=True).start()

    def talk(self, conn):
        try:
            with conn, conn.makefile('rwb', buffering=0) as f:
                self.dialogue(f)
        except OSError:
            pass  # it was killed

    def dialogue(self, f):
        sender, rcpts, data = None, [], None
        f.write(b'220 peer.example\r\n')
        for line in f:
            if data is not None:
                if line != b'.\r\n':
                    data.append(line[1:] if line.startswith(b'.') else line)
                    continue
                self.mail.append((sender, rcpts, b''.join(data)))
                data, rcpts = None, []
                f.write(b'250 2.0.0 taken\r\n')
                continue
            text = line.decode('utf-8').strip()
            self.commands.append(text)
            word = text.upper()
            if word.startswith('EHLO'):
                all = ['peer.example', 'PIPELINING', 'ENHANCEDSTATUSCODES', *self.extensions]
                for i, x in enumerate(all):
                    f.write(f'250{" " if i + 1 == len(all) else "-"}{x}\r\n'.encode())
            elif word.startswith('RCPT TO:<NO'):
                f.write(b'550 5.1.1 no such user\r\n')
            elif word.startswith('RCPT TO:<LATER'):
                f.write(b'450 4.2.1 mailbox is busy\r\n')
            elif word.startswith('DATA'):
                data = [] if rcpts else None
                f.write(b'354 go on\r\n' if rcpts else b'503 5.5.1 no recipients\r\n')
            elif word.startswith('QUIT'):
                f.write(b'221 bye\r\n')
                return
            else:
                if word.startswith('MAIL'):
                    sender, rcpts = text.split('<')[1].split('>')[0], []
                elif word.startswith('RCPT'):
                    rcpts.append(text.split(':', 1)[1])
                f.write(b'250 2.0.0 ok\r\n')

    def to(self, address):
        return [m for m in self.mail if any(f'<{address}>' in r for r in m[1])]

    def wait(self, address, count=1, seconds=30):
        wait_until(lambda: len(self.to(address)) >= count, f'{count} messages for {address}', seconds)
        return self.to(address)

    def stop(self):
        self.listener.close()


def parse(mail):
    return email.message_from_bytes(mail[2], policy=email.policy.default)


def parts(message):
    return {p.get_content_type(): p for p in message.iter_parts()}


def status_groups(message):
    """The groups of fields of the status part."""
    part = parts(message)['message/delivery-status']
    return [{k: str(v) for k, v in p.items()} for p in part.get_payload()]


class World(unittest.TestCase):
    extensions = ('8BITMIME',)
    pipes = ''

    def start(self, **options):
        self.directory = Directory('pmta-notices-')
        self.addCleanup(self.directory.remove)
        self.peer = Peer(self.extensions)
        self.addCleanup(self.peer.stop)
        self.files = self.directory.sub('files')
        options['extra'] = options.get('extra', '') + (
            f'\n[acct-file {self.files}/all.csv]\nrecords = d,b,t,r\nrecord-fields = *\n')
        self.pmta = Pmta(self.directory, self.peer.port, notices=True, **options)
        self.addCleanup(self.pmta.kill)
        return self.pmta

    def submit(self, rcpts, sender='app@sender.example', mail_options=(), rcpt_options=(), pipe='bulk',
               body='hello\r\n', headers=''):
        with self.pmta.smtp() as s:
            s.ehlo('client.example')
            s.command_encoding = 'utf-8'
            code, reply = s.mail(sender, list(mail_options))
            self.assertEqual(code, 250, reply)
            for r in rcpts:
                code, reply = s.rcpt(r, list(rcpt_options))
                self.assertEqual(code, 250, reply)
            text = (f'From: {sender}\r\nSubject: A test\r\nMessage-ID: <1@sender.example>\r\nX-Pipe: {pipe}\r\n'
                    f'{headers}\r\n{body}')
            code, reply = s.data(text.encode())
            self.assertEqual(code, 250, reply)
            return reply.decode().split()[-1]

    def records(self, pipe):
        rows = []
        for path in sorted(glob.glob(os.path.join(self.files, f'all-{pipe}-*.csv'))):
            with open(path, newline='') as f:
                rows += list(csv.DictReader(f))
        return rows

    def check_books(self):
        books = self.pmta.wait_empty()
        for b in books.values():
            self.assertEqual(b['received'], b['delivered'] + b['bounced'] + b['expired'] + b['deleted'])
        return books


class Failure(World):
    def test_one_notice_tells_of_all(self):
        self.start().start()
        id = self.submit(['no1@a.example', 'no2@a.example', 'good@a.example', 'no3@b.example'],
                         mail_options=['RET=FULL', 'ENVID=ab+2Bc'], rcpt_options=['ORCPT=rfc822;o+2Bo@a.example'],
                         body='line\r\n.dot\r\n..two\r\n')
        notice = self.peer.wait('app@sender.example')[0]
        self.assertEqual(notice[0], '')
        m = parse(notice)
        self.assertEqual(m.get_content_type(), 'multipart/report')
        self.assertEqual(m.get_param('report-type'), 'delivery-status')
        self.assertEqual(m['Auto-Submitted'], 'auto-replied')
        self.assertEqual(m['To'], 'app@sender.example')
        self.assertEqual(m['In-Reply-To'], '<1@sender.example>')
        self.assertEqual(m['Subject'], 'Undelivered: A test')
        self.assertEqual([p.defects for p in m.walk() if p.defects], [])
        groups = status_groups(m)
        self.assertEqual(groups[0]['Original-Envelope-Id'], 'ab+c')
        self.assertEqual(groups[0]['Reporting-MTA'], 'dns; mta.test.example')
        self.assertEqual(groups[0]['Received-From-MTA'], 'dns; client.example (127.0.0.1)')
        self.assertEqual(groups[0]['X-PipeMTA-Message-ID'], id)
        self.assertEqual(sorted(g['Final-Recipient'] for g in groups[1:]),
                         ['rfc822; no1@a.example', 'rfc822; no2@a.example', 'rfc822; no3@b.example'])
        for g in groups[1:]:
            self.assertEqual(g['Action'], 'failed')
            self.assertEqual(g['Status'], '5.1.1')
            self.assertEqual(g['Original-Recipient'], 'rfc822; o+o@a.example')
            self.assertEqual(g['Diagnostic-Code'], 'smtp; 550 5.1.1 no such user')
            self.assertEqual(g['X-PipeMTA-BounceCategory'], 'bad-mailbox')
        original = parts(m)['message/rfc822'].get_payload(0)
        self.assertEqual(original['Subject'], 'A test')
        self.assertEqual(original.get_payload().replace('\r\n', '\n'), 'line\n.dot\n..two\n')
        self.assertEqual(len(self.peer.to('app@sender.example')), 1)
        books = self.check_books()
        self.assertEqual(books['bulk']['received'], 5)  # with the notice
        self.assertEqual(books['bulk']['bounced'], 3)
        notices = wait_until(lambda: [r for r in self.records('bulk')
                                      if (r['srcType'], r['type']) == ('dsn', 'd')], 'its record')
        self.assertEqual([(r['rcpt'], r['orig'], r['dlvType']) for r in notices],
                         [('app@sender.example', '', 'smtp')])

    def test_who_gets_none(self):
        self.start(source='', extra='[source quiet]\nalways-allow-relaying = yes\n'
                   '[bounce-processor ours]\ninbound-address = b+*@sender.example\n').start()
        self.submit(['no@a.example'], sender='')
        self.submit(['no@a.example'], rcpt_options=['NOTIFY=NEVER'])
        self.submit(['no@a.example'], rcpt_options=['NOTIFY=SUCCESS,DELAY'])
        self.submit(['no@a.example'], sender='b+7@sender.example')
        self.submit(['good@a.example'])
        self.submit(['no@a.example'], sender='no-sender@sender.example')  # its notice is refused, too
        self.submit(['no@a.example'], sender='last@sender.example')
        self.peer.wait('last@sender.example')
        books = self.check_books()
        self.assertEqual(books['bulk']['received'], 7 + 2)
        self.assertEqual(self.peer.to('app@sender.example'), [])
        self.assertEqual([m[0] for m in self.peer.mail if m[0] == ''], [''])

    def test_switched_off_for_a_source(self):
        self.start(source='suppress-local-dsn = yes').start()
        self.submit(['no@a.example'], rcpt_options=['NOTIFY=FAILURE'])
        books = self.check_books()
        self.assertEqual((books['bulk']['received'], books['bulk']['bounced']), (1, 1))

    def test_expired_mail_tells_what_was_tried(self):
        self.start(domain='bounce-after = 2s').start()
        self.submit(['later@a.example'])
        m = parse(self.peer.wait('app@sender.example')[0])
        g = status_groups(m)[1]
        self.assertEqual(g['Status'], '5.4.7')
        self.assertIn('last: 450 4.2.1 mailbox is busy', ' '.join(g['Diagnostic-Code'].split()))
        self.assertGreater(int(g['X-PipeMTA-Attempts']), 1)
        self.assertIn('text/rfc822-headers', parts(m))
        text = parts(m)['text/plain'].get_content()
        self.assertIn('The message was accepted on ', text)
        self.assertIn('attempts: ' + g['X-PipeMTA-Attempts'], text)
        self.check_books()

    def test_templates_and_limit(self):
        d = Directory('pmta-templates-')
        self.addCleanup(d.remove)
        path = os.path.join(d.path, 'body.txt')
        with open(path, 'w') as f:
            f.write('Hello ${originator}\n\n${recipients}\n-- \nC:\\new\n')
        pmta = self.start(pmta='custom-dsn-from-header = Post <post@sender.example>\n'
                          'dsn-failed-subject-template = ${status} ${recipient}\n'
                          f'dsn-failed-body-template-from = {path}\n'
                          'dsn-max-rate = 2/h\ndsn-copy-to = boss@sender.example\n'
                          'dsn-format = plain-text\n').start()
        for i in range(4):
            self.submit([f'no{i}@a.example'])
        self.peer.wait('app@sender.example', 2)
        self.check_books()
        self.assertEqual(len(self.peer.to('app@sender.example')), 2)
        bulk = [o for o in pmta.admin('show-pipes pipe/bulk') if o.get('pipe') == 'bulk'][0]
        self.assertEqual((bulk['notices_failed'], bulk['notices_held_back']), (2, 2))
        self.assertEqual(len(self.peer.to('boss@sender.example')), 2)
        self.assertEqual(pmta.stop(), 0)
        pmta.start()
        self.submit(['no4@a.example'])
        self.check_books()
        bulk = [o for o in pmta.admin('show-pipes pipe/bulk') if o.get('pipe') == 'bulk'][0]
        self.assertEqual((bulk['notices_failed'], bulk['notices_held_back']), (0, 1))
        m = parse(self.peer.to('app@sender.example')[0])
        self.assertEqual(m['From'], 'Post <post@sender.example>')
        self.assertRegex(m['Subject'], r'^5\.1\.1 no\d@a\.example$')
        kinds = [p.get_content_type() for p in m.iter_parts()]
        self.assertEqual(kinds, ['text/plain', 'text/plain', 'text/rfc822-headers'])
        text = next(m.iter_parts()).get_content().replace('\r\n', '\n')
        self.assertTrue(text.startswith('Hello app@sender.example\n'), text)
        self.assertIn('-- \nC:\\new\n', text)
        with open(path, 'w') as f:
            f.write('${nobody}\n')
        p = subprocess.run([os.path.join(BIN, 'pmtad'), '--check', '-c', pmta.conf],
                           capture_output=True, text=True, timeout=20)
        self.assertNotEqual(p.returncode, 0)
        self.assertRegex(p.stdout + p.stderr, r"10-test\.conf:\d+: dsn-failed-body-template-from: "
                         r"'\$\{nobody\}' is no variable")

    @unittest.skipUnless(shutil.which('perl') and subprocess.run(
        ['perl', '-MSisimai', '-MMail::DeliveryStatus::BounceParser', '-e', '1'],
        capture_output=True).returncode == 0, 'the parsers are not installed')
    def test_other_peoples_parsers_read_it(self):
        self.start().start()
        self.submit(['no@a.example', 'no2@a.example'])
        notice = self.peer.wait('app@sender.example')[0]
        path = os.path.join(self.directory.path, 'notice.eml')
        with open(path, 'wb') as f:
            f.write(notice[2].replace(b'\r\n', b'\n'))
        out = subprocess.run(['perl', os.path.join(HERE, 'dsn_parsers.pl'), path], capture_output=True,
                             text=True, timeout=60, check=True).stdout
        read = json.loads(out)
        self.assertTrue(read['is_bounce'])
        self.assertEqual([(x['rcpt'], x['action'], x['status'], x['reason'], x['from'])
                          for x in read['sisimai']],
                         [(r, 'failed', '5.1.1', 'userunknown', 'app@sender.example')
                          for r in ('no@a.example', 'no2@a.example')])
        self.assertEqual([(x['rcpt'], x['smtp'], x['std']) for x in read['bounceparser']],
                         [(r, '550', 'user_unknown') for r in ('no@a.example', 'no2@a.example')])


class Success(World):
    def test_relayed(self):
        self.start().start()
        self.submit(['good@a.example'], rcpt_options=['NOTIFY=SUCCESS'], mail_options=['RET=FULL'])
        m = parse(self.peer.wait('app@sender.example')[0])
        self.assertEqual(m['Subject'], 'Relayed: A test')
        g = status_groups(m)[1]
        self.assertEqual((g['Action'], g['Status']), ('relayed', '2.0.0'))
        self.assertIn('text/rfc822-headers', parts(m))  # whatever RET says
        self.check_books()

    def test_delayed(self):
        self.start(domain='notify-of-delay-every = 1s\nbounce-after = 1h').start()
        id = self.submit(['later@a.example'], rcpt_options=['NOTIFY=DELAY'])
        m = parse(self.peer.wait('app@sender.example', 2)[1])
        g = status_groups(m)[1]
        self.assertEqual(g['Action'], 'delayed')
        self.assertEqual(g['Status'], '4.2.1')
        self.assertEqual(g['Diagnostic-Code'], 'smtp; 450 4.2.1 mailbox is busy')
        self.assertIn('Will-Retry-Until', g)
        self.pmta.admin('delete pipe/bulk {"id":"%s"}' % id)
        self.check_books()


class PeerWithDsn(World):
    extensions = ('8BITMIME', 'DSN')

    def test_the_peer_takes_over(self):
        """RFC 3461 section 5.2.1: parameters go on, and no 'relayed' is sent."""
        self.start().start()
        self.submit(['good@a.example'], rcpt_options=['NOTIFY=SUCCESS,DELAY', 'ORCPT=rfc822;x@y'],
                    mail_options=['RET=HDRS', 'ENVID=e+2B1'])
        self.submit(['never@a.example'], rcpt_options=['NOTIFY=NEVER'])
        self.submit(['utf8@a.example'], rcpt_options=['ORCPT=utf-8;jö€😀@a.example'])
        self.submit(['no@a.example'], sender='failed@sender.example', rcpt_options=['NOTIFY=SUCCESS,FAILURE'])
        self.peer.wait('failed@sender.example')
        self.check_books()
        self.assertEqual(self.peer.to('app@sender.example'), [])
        said = '\n'.join(self.peer.commands)
        self.assertIn(' RET=HDRS ENVID=e+2B1', said)
        self.assertIn('RCPT TO:<good@a.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y', said)
        self.assertIn('RCPT TO:<never@a.example> NOTIFY=NEVER', said)
        self.assertIn('ORCPT=utf-8;j\\x{00F6}\\x{20AC}\\x{1F600}@a.example', said)  # RFC 6533, no SMTPUTF8
        self.assertIn('RCPT TO:<failed@sender.example> NOTIFY=NEVER', said)  # of notices themselves


class International(World):
    extensions = ('8BITMIME', 'SMTPUTF8')

    def test_utf8(self):
        self.start().start()
        self.submit(['noö@a.example'], sender='jörg@sender.example', mail_options=['SMTPUTF8'],
                    rcpt_options=['ORCPT=utf-8;ö@a.example'])
        notice = self.peer.wait('jörg@sender.example')[0]
        self.assertTrue(any(c.startswith('MAIL FROM:<>') and 'SMTPUTF8' in c for c in self.peer.commands))
        m = parse(notice)
        kinds = [p.get_content_type() for p in m.iter_parts()]
        self.assertEqual(kinds, ['text/plain', 'message/global-delivery-status', 'message/global-headers'])
        self.assertIn('Final-Recipient: utf-8; noö@a.example\r\n'.encode(), notice[2])
        self.assertIn('Original-Recipient: utf-8; ö@a.example\r\n'.encode(), notice[2])
        self.submit(['noö@a.example'], mail_options=['SMTPUTF8'])
        plain = self.peer.wait('app@sender.example')[0]
        plain[2].decode('ascii')  # 7-bit for a sender who may be anywhere
        self.assertIn('Final-Recipient: utf-8; noö@a.example', status_text(plain[2]))
        self.check_books()


def status_text(content):
    """The status part, which is quoted-printable."""
    body = content.split(b'Content-Type: message/global-delivery-status')[1].split(b'\r\n\r\n', 1)[1]
    return quopri.decodestring(body.split(b'\r\n--=_')[0]).decode('utf-8')


class OtherPipe(World):
    """dsn-pipe: bounces of `bulk` are told through `transactional`, which signs."""

    def setUp(self):
        self.keys = Directory('pmta-keys-')
        self.addCleanup(self.keys.remove)
        self.key = os.path.join(self.keys.path, 'k.pem')
        subprocess.run(['openssl', 'genpkey', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048',
                        '-out', self.key], check=True, capture_output=True, timeout=60)
        self.public = ''.join(subprocess.run(
            ['openssl', 'pkey', '-in', self.key, '-pubout'], check=True, capture_output=True, text=True,
            timeout=60).stdout.splitlines()[1:-1])
        if os.geteuid() == 0:
            import pwd
            os.chown(self.key, pwd.getpwnam('nobody').pw_uid, -1)
        os.chmod(self.key, 0o600)
        self.start(pmta='custom-dsn-from-header = Mail <mail@sign.example>\n', extra=f'''
[pipe bulk]
dsn-pipe = transactional
dsn-max-rate = 0
[pipe transactional]
domain-key = s1,sign.example,{self.key}
''').start()

    def verify(self, mail):
        import dkim
        record = f'v=DKIM1; k=rsa; p={self.public}'.encode()
        return dkim.verify(mail[2], dnsfunc=lambda name, timeout=5: record
                           if name in (b's1._domainkey.sign.example.', 's1._domainkey.sign.example.')
                           else None)

    def test_signed_and_counted_in_both(self):
        self.submit(['no@a.example'], mail_options=['RET=FULL'], body='x' * 70 + '\r\n')
        self.submit(['no@a.example'], sender='big@sender.example', mail_options=['RET=FULL'],
                    body=('y' * 70 + '\r\n') * 1300)
        for sender in ('app', 'big'):
            notice = self.peer.wait(f'{sender}@sender.example')[0]
            self.assertTrue(self.verify(notice), notice[2][:2000])
            self.assertIn('message/rfc822', parts(parse(notice)))
        books = self.check_books()
        self.assertEqual((books['bulk']['received'], books['bulk']['bounced'], books['bulk']['delivered']),
                         (4, 2, 2))
        self.assertEqual((books['transactional']['received'], books['transactional']['delivered']), (2, 2))
        handed = wait_until(lambda: [r for r in self.records('bulk') if r['dlvType'] == 'pipe'],
                            'records of what was handed over')
        self.assertEqual({(r['type'], r['srcType'], r['queue']) for r in handed},
                         {('d', 'dsn', 'notices/pipe:transactional')})
        self.assertTrue(handed[0]['dsnDiag'].startswith('smtp;250 2.0.0 Queued as '), handed[0])
        out = wait_until(lambda: [r for r in self.records('transactional') if r['type'] == 'd'],
                         'records of what went out')
        self.assertEqual({(r['srcType'], r['dlvType']) for r in out}, {('dsn', 'smtp')})

    def test_the_other_pipe_stands_still(self):
        """Nothing of this pipe waits for the other one (promise 3)."""
        pid = self.pmta.pids()['pipe/transactional']
        os.kill(pid, signal.SIGSTOP)
        try:
            for i in range(40):
                self.submit([f'no{i}@a.example'], sender=f's{i}@sender.example')
            self.submit(['good@a.example'])
            self.peer.wait('good@a.example')
            wait_until(lambda: len([r for r in self.records('bulk') if r['type'] == 'b']) == 40,
                       'forty bounces in accounting')
            self.assertEqual([m for m in self.peer.mail if m[0] == ''], [])
        finally:
            os.kill(pid, signal.SIGCONT)
        for i in range(40):
            self.peer.wait(f's{i}@sender.example')
        self.check_books()
        self.assertEqual(len([m for m in self.peer.mail if m[0] == '']), 40)

    def test_the_other_pipe_dies(self):
        os.kill(self.pmta.pids()['pipe/transactional'], signal.SIGSTOP)
        for i in range(30):
            self.submit([f'no{i}@a.example'], sender=f's{i}@sender.example')
        wait_until(lambda: len([r for r in self.records('bulk') if r['type'] == 'b']) == 30,
                   'thirty bounces in accounting')
        os.kill(self.pmta.pids()['pipe/transactional'], signal.SIGKILL)
        for i in range(30):
            self.peer.wait(f's{i}@sender.example')
        self.check_books()

    def test_a_reload_takes_the_other_pipe_away(self):
        """What waits goes out through its own pipe; what the other one has in hand, through that."""
        pid = self.pmta.pids()['pipe/transactional']
        os.kill(pid, signal.SIGSTOP)
        for i in range(40):
            self.submit([f'no{i}@a.example'], sender=f's{i}@sender.example')
        wait_until(lambda: len([r for r in self.records('bulk') if r['type'] == 'b']) == 40,
                   'forty bounces in accounting')
        path = os.path.join(self.pmta.conf, '10-test.conf')
        with open(path) as f:
            text = f.read()
        self.assertIn('dsn-pipe = transactional\n', text)
        self.pmta.write_config('10-test.conf', text.replace('dsn-pipe = transactional\n', ''))
        self.pmta.admin('reload root')
        try:
            wait_until(lambda: len([m for m in self.peer.mail if m[0] == '']) == 24,
                       'those that were not handed over')
        finally:
            os.kill(pid, signal.SIGCONT)
        for i in range(40):
            self.peer.wait(f's{i}@sender.example')
        books = self.check_books()
        self.assertEqual(len([m for m in self.peer.mail if m[0] == '']), 40)
        self.assertEqual(books['transactional']['received'], 16)

    def test_why_says_what_it_waits_for(self):
        os.kill(self.pmta.pids()['pipe/transactional'], signal.SIGSTOP)
        self.submit(['no@a.example'])
        wait_until(lambda: 'delivery notice id=' in self.pmta.log_text(), 'the notice')
        id = self.pmta.log_text().split('delivery notice id=')[1].split()[0]
        def why():
            return [r for o in self.pmta.admin('why pipe/bulk {"id":"%s"}' % id) for r in o.get('rcpts', [])]
        self.assertEqual(why()[0]['queue'], 'notices/pipe:transactional')
        os.kill(self.pmta.pids()['pipe/transactional'], signal.SIGKILL)
        self.peer.wait('app@sender.example')
        self.check_books()


class Crash(World):
    def check(self, accepted):
        """Each was told at least once, and has one final record, or the same one again."""
        for name in accepted:
            self.peer.wait(f'{name}@sender.example', seconds=60)
        self.pmta.wait_empty()

        def final():  # records are written a moment after the books show the end
            ids = {}
            for r in self.records('bulk'):
                if r['type'] == 'b' and r['orig']:
                    ids.setdefault(r['orig'].split('@')[0], set()).add(r['msgId'])
            return ids if all(name in ids for name in accepted) else None
        ids = wait_until(final, 'a final record of each', 60)
        for name in accepted:
            self.assertEqual(len(ids[name]), 1, name)
        # one notice may arrive twice, as any mail that a crash finds in flight
        told = [len({parse(m)['Message-ID'] for m in self.peer.to(f'{name}@sender.example')})
                for name in accepted]
        print(f'\n{len(told)} bounces, {sum(told)} notices, {sum(t > 1 for t in told)} repeated', end=' ')
        return told

    def test_kill_between_notice_and_record(self):
        """The log line of a notice comes when it is durable, a moment before the record that follows."""
        pmta = self.start(pmta='dsn-max-rate = 0').start()
        accepted = []
        for i in range(6):  # each start waits twice as long
            wait_until(lambda: (pmta.ledger() or {'bulk': {'queued': 1}})['bulk']['queued'] == 0,
                       'what was interrupted is done', 120)
            pid = pmta.pids()['pipe/bulk']
            with open(pmta.log, 'rb') as log:
                log.seek(0, os.SEEK_END)
                self.submit(['no@a.example'], sender=f'k{i}@sender.example')
                accepted.append(f'k{i}')
                end, seen = time.monotonic() + 20, b''
                while b'delivery notice id=' not in seen:
                    seen += log.read()
                    self.assertLess(time.monotonic(), end)
                os.kill(pid, signal.SIGKILL)
        told = self.check(accepted)
        self.assertLessEqual(max(told), 2)  # once more for its own crash

    def test_kill_anywhere(self):
        """Every bounce is told at least once and recorded once, wherever the pipe is killed."""
        pmta = self.start(pmta='dsn-max-rate = 0').start()
        stop, accepted = threading.Event(), []

        def flood(worker):
            for i in range(1000):
                if stop.is_set():
                    return
                name = f's{worker}-{i}'
                try:
                    self.submit([f'no{worker}-{i}@a.example'], sender=f'{name}@sender.example')
                    accepted.append(name)
                except (OSError, AssertionError, smtplib.SMTPException):
                    time.sleep(0.01)  # 451 while the pipe is down

        workers = [threading.Thread(target=flood, args=(n,)) for n in range(3)]
        for w in workers:
            w.start()
        for kill in range(6):
            known = len(accepted)
            wait_until(lambda: len(accepted) > known + 15, 'mail is taken')
            os.kill(wait_until(lambda: pmta.pids().get('pipe/bulk'), 'the pipe is back'), signal.SIGKILL)
        stop.set()
        for w in workers:
            w.join()
        told = self.check(accepted)
        self.assertLess(sum(told), 2 * len(told))


if __name__ == '__main__':
    unittest.main()
