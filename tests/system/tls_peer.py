"""Certificates made on the spot, and a small SMTP server with TLS whose habits a test chooses."""
import os
import socket
import ssl
import subprocess
import threading
import warnings


class Authority:
    """A certificate authority with the openssl command; every file is in `path`."""

    def __init__(self, path, name='Test Root'):
        self.path = path
        os.makedirs(path, exist_ok=True)
        self.name = name
        self.cert = os.path.join(path, 'ca.pem')
        self.key = os.path.join(path, 'ca.key')
        self.serial = 1
        self._run('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                  '-keyout', self.key, '-out', self.cert, '-days', '30', '-subj', f'/CN={name}',
                  '-addext', 'keyUsage=critical,keyCertSign,cRLSign')

    def _run(self, *args):
        subprocess.run(['openssl', *args], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)

    def issue(self, label, names=(), expired=False, self_signed=False, client=False):
        """(certificate file, key file); names are DNS names, an address, or a mail address with @."""
        cert = os.path.join(self.path, label + '.pem')
        key = os.path.join(self.path, label + '.key')
        request = os.path.join(self.path, label + '.csr')
        config = os.path.join(self.path, label + '.cnf')
        kinds = [('email' if '@' in n else 'IP' if n[0].isdigit() else 'DNS') + ':' + n for n in names]
        open(os.path.join(self.path, 'index'), 'w').close()
        self.serial += 1
        with open(os.path.join(self.path, 'serial'), 'w') as f:
            f.write(f'{self.serial:04x}\n')
        with open(config, 'w') as f:
            f.write(f'''[ca]
default_ca = x
[x]
database = {self.path}/index
new_certs_dir = {self.path}
serial = {self.path}/serial
default_md = sha256
policy = p
x509_extensions = e
[p]
commonName = supplied
[e]
basicConstraints = CA:FALSE
extendedKeyUsage = {'clientAuth' if client else 'serverAuth'}
subjectAltName = {', '.join(kinds) or 'DNS:nobody.invalid'}
''')
        self._run('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
                  '-keyout', key, '-out', request, '-subj', f'/CN={label}')
        dates = ['-startdate', '20200101000000Z', '-enddate', '20200201000000Z'] if expired else ['-days', '20']
        by = ['-selfsign', '-keyfile', key] if self_signed else ['-cert', self.cert, '-keyfile', self.key]
        self._run('ca', '-batch', '-notext', '-config', config, '-in', request, '-out', cert, *by, *dates)
        os.chmod(cert, 0o644)
        os.chmod(key, 0o600)
        return cert, key


class Peer:
    """An SMTP server on a free port of 127.0.0.1.

    certificate: (cert, key), or None: STARTTLS is not offered. version: (lowest, highest). client_ca: asks
    for a client certificate. inject: bytes sent in clear behind the reply to STARTTLS. offers: more EHLO
    keywords, after TLS. break_tls: the connection is closed when the handshake should begin."""

    def __init__(self, certificate=None, version=None, client_ca=None, inject=b'', offers=(), break_tls=False):
        self.context = None
        self.inject = inject
        self.offers = list(offers)
        self.break_tls = break_tls
        self.sessions = []
        self.messages = []
        self.lock = threading.Lock()
        if certificate:
            self.use(certificate, version, client_ca)
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def use(self, certificate, version=None, client_ca=None):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(*certificate)
        if version:
            c.set_ciphers('ALL:@SECLEVEL=0')
            with warnings.catch_warnings():
                warnings.simplefilter('ignore', DeprecationWarning)
                c.minimum_version, c.maximum_version = version
        if client_ca:
            c.load_verify_locations(client_ca)
            c.verify_mode = ssl.CERT_REQUIRED
        c.sni_callback = lambda sock, name, ctx: self._note(sock, name)
        self.context = c

    def _note(self, sock, name):
        self.sni = name

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        session = {'tls': None, 'resumed': False, 'sni': None, 'client': None, 'commands': [], 'error': None}
        with self.lock:
            self.sessions.append(session)
        try:
            s.settimeout(20)
            self._talk(s, session)
        except (OSError, ssl.SSLError, ValueError) as e:
            session['error'] = str(e)
        finally:
            session.pop('socket', s).close()
            s.close()

    def _talk(self, s, session):
        s.sendall(b'220 peer.example ESMTP\r\n')
        lines = s.makefile('rb')
        while True:
            line = lines.readline()
            if not line:
                return
            text = line.decode('latin-1').rstrip()
            verb = text.split(' ')[0].upper()
            session['commands'].append(text)
            if verb == 'EHLO':
                words = ['peer.example', 'SIZE 1000000']
                if self.context and not session['tls']:
                    words.append('STARTTLS')
                if session['tls']:
                    words += self.offers
                for i, w in enumerate(words):
                    s.sendall(f'250{" " if i == len(words) - 1 else "-"}{w}\r\n'.encode())
            elif verb == 'STARTTLS':
                s.sendall(b'220 go ahead\r\n' + self.inject)
                if self.break_tls:
                    return
                s = session['socket'] = self.context.wrap_socket(s, server_side=True)
                session.update(tls=s.version(), resumed=s.session_reused, sni=getattr(self, 'sni', None),
                               client=s.getpeercert() or None)
                lines = s.makefile('rb')
            elif verb == 'DATA':
                s.sendall(b'354 go\r\n')
                body = b''
                while True:
                    line = lines.readline()
                    if line in (b'.\r\n', b''):
                        break
                    body += line
                with self.lock:
                    self.messages.append((session, body))
                s.sendall(b'250 2.0.0 taken\r\n')
            elif verb == 'QUIT':
                s.sendall(b'221 bye\r\n')
                return
            else:
                s.sendall(b'250 2.0.0 ok\r\n')

    def stop(self):
        self.listener.close()
