"""Private instances of Postfix and Exim, as Debian ships them, on loopback ports. Each takes mail for
any domain: what has a port in `routes` goes there, recipients whose local part begins with `gone` are
refused by itself after it took the message, so that it has to write a report."""
import os
import pwd
import shutil
import subprocess
import glob

import pmta

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..'))


def answers(port):
    import socket
    try:
        with socket.create_connection(('127.0.0.1', port), 2) as s:
            return s.recv(3) == b'220'
    except OSError:
        return False


POSTFIX_MAIN = '''
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
command_directory = /usr/sbin
daemon_directory = {daemons}
mail_owner = postfix
setgid_group = postdrop
myhostname = postfix.test.example
mydestination =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
smtp_dns_support_level = disabled
relay_domains = static:all
local_recipient_maps =
maillog_file = /dev/stdout
transport_maps = regexp:{dir}/conf/transport
smtp_tls_security_level = none
smtpd_tls_security_level = none
recipient_delimiter =
minimal_backoff_time = 2s
maximal_backoff_time = 4s
queue_run_delay = 2s
delay_warning_time = 0
'''

# error: would be refused at RCPT already
POSTFIX_TRANSPORT = '/^gone/ gone:\n'
POSTFIX_GONE = '''gone unix - n n - - pipe
  flags=R user=nobody argv=/bin/sh -c {echo no such person here; exit 67}
'''


class Postfix:
    """Needs root: its master starts only then."""

    @staticmethod
    def missing():
        if os.geteuid() != 0:
            return 'Postfix needs root to start'
        if not shutil.which('postfix') or not os.path.exists('/usr/share/postfix/master.cf.dist'):
            return "Debian's postfix package is not installed"
        return None

    def __init__(self, directory, routes, main=''):
        """main: more of main.cf; the last line of a name counts."""
        self.port = pmta.free_port()
        self.path = os.path.join(directory.path, 'postfix')
        conf = self.conf = os.path.join(self.path, 'conf')
        for name in ('conf', 'queue', 'data'):
            os.makedirs(os.path.join(self.path, name))
        os.chown(os.path.join(self.path, 'data'), pwd.getpwnam('postfix').pw_uid, -1)
        daemons = subprocess.run(['postconf', '-dh', 'daemon_directory'], capture_output=True,
                                 text=True, check=True).stdout.strip()
        with open(os.path.join(conf, 'main.cf'), 'w') as f:
            f.write(POSTFIX_MAIN.format(dir=self.path, daemons=daemons) + main)
        with open(os.path.join(conf, 'transport'), 'w') as f:
            f.write(POSTFIX_TRANSPORT)
            for domain, port in routes.items():
                f.write(f'/@{domain.replace(".", "[.]")}$/ smtp:[127.0.0.1]:{port}\n')
        self._master_cf(conf)
        self._command('start')
        pmta.wait_until(lambda: answers(self.port), 'Postfix', 20)

    def _master_cf(self, conf):
        with open('/usr/share/postfix/master.cf.dist', encoding='utf-8') as f:
            rows = f.read().splitlines()
        with open(os.path.join(conf, 'master.cf'), 'w', encoding='utf-8') as f:
            for row in rows:
                words = row.split()
                if row[:1].isspace() or row.startswith('#') or len(words) < 8:
                    if not row[:1].isspace() or 'syslog_name' in row:
                        f.write(row + '\n')
                    continue
                if words[7] == 'pipe':
                    continue
                if words[:2] == ['smtp', 'inet']:
                    words[0] = f'127.0.0.1:{self.port}'
                words[4] = 'n'  # no chroot: its copy of /etc is not made here
                f.write(' '.join(words) + '\n')
            f.write(POSTFIX_GONE)

    def _command(self, verb):
        return subprocess.run(['postfix', '-c', self.conf, verb], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)

    def stop(self):
        try:
            with open(os.path.join(self.path, 'queue/pid/master.pid')) as f:
                master = int(f.read())
        except (OSError, ValueError):
            return
        self._command('stop')
        pmta.wait_until(lambda: not os.path.exists(f'/proc/{master}'), 'the end of Postfix', 60)


EXIM = '''
exim_path = {binary}
spool_directory = {dir}/spool
log_file_path = {dir}/log/%slog
pid_file_path = {dir}/exim.pid
primary_hostname = exim.test.example
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
exim_user = {uid}
exim_group = {gid}
never_users =
keep_environment = LD_PRELOAD : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
deliver_drop_privilege = true
queue_only = false
tls_advertise_hosts =
acl_smtp_rcpt = accept
acl_smtp_data = accept
disable_ipv6 = true
host_lookup =
rfc1413_query_timeout = 0s
begin acl
accept:
  accept
begin routers
gone:
  driver = redirect
  local_parts = ^gone
  allow_fail
  data = :fail: no such person here
{routers}
begin transports
out:
  driver = smtp
  allow_localhost = true
  hosts_override = true
  port = $address_data
begin retry
* * F,1s,1s
begin rewrite
begin authenticators
'''

EXIM_ROUTER = '''to_{n}:
  driver = manualroute
  domains = {domain}
  address_data = {port}
  self = send
  transport = out
  route_list = {domain} 127.0.0.1
'''


class Exim:
    """Runs without root, as whoever Debian-exim is said to be (libnss-wrapper). The binary is taken
    out of Debian's package: as a package it cannot stand beside Postfix (tools/install-deps)."""

    @staticmethod
    def binary():
        unpacked = os.path.join(ROOT, 'build-peers', 'exim4', 'usr', 'sbin', 'exim4')
        return unpacked if os.path.exists(unpacked) else shutil.which('exim4')

    @staticmethod
    def wrapper():
        found = glob.glob('/usr/lib/*/libnss_wrapper.so')
        return found[0] if found else None

    @staticmethod
    def missing():
        if not Exim.binary():
            return "there is no exim4 (tools/install-deps test unpacks Debian's)"
        return None if Exim.wrapper() else 'there is no libnss_wrapper.so (libnss-wrapper)'

    def __init__(self, directory, routes):
        self.port = pmta.free_port()
        self.path = directory.sub('exim')
        user = pwd.getpwnam('nobody') if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        for name in ('spool', 'log', 'conf'):
            os.makedirs(os.path.join(self.path, name))
        routers = ''.join(EXIM_ROUTER.format(n=n, domain=d, port=p)
                          for n, (d, p) in enumerate(routes.items()))
        binary = os.path.join(self.path, 'exim4')  # not setuid here, or the wrapper is not loaded
        shutil.copyfile(self.binary(), binary)
        os.chmod(binary, 0o755)
        self.config = os.path.join(self.path, 'conf', 'exim.conf')
        with open(self.config, 'w') as f:
            f.write(EXIM.format(dir=self.path, port=self.port, binary=binary, uid=user.pw_uid,
                                gid=user.pw_gid, routers=routers))
        files = {'passwd': f'Debian-exim:x:{user.pw_uid}:{user.pw_gid}::{self.path}:/bin/false\n'
                           f'{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{self.path}:/bin/false\n'
                           'root:x:0:0::/root:/bin/sh\n',
                 'group': f'Debian-exim:x:{user.pw_gid}:\nroot:x:0:\n'}
        for name, text in files.items():
            with open(os.path.join(self.path, name), 'w') as f:
                f.write(text)
        for top, dirs, names in os.walk(self.path):
            for name in dirs + names:
                os.chown(os.path.join(top, name), user.pw_uid, user.pw_gid)
        environment = dict(os.environ, LD_PRELOAD=self.wrapper(),
                           NSS_WRAPPER_PASSWD=os.path.join(self.path, 'passwd'),
                           NSS_WRAPPER_GROUP=os.path.join(self.path, 'group'))
        self.out = open(os.path.join(self.path, 'out'), 'wb')
        as_user = {'user': user.pw_uid, 'group': user.pw_gid, 'extra_groups': []} if os.geteuid() == 0 else {}
        self.process = subprocess.Popen([binary, '-C', self.config, '-bdf', '-q2s'],
                                        stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.out,
                                        env=environment, **as_user)
        try:
            pmta.wait_until(lambda: answers(self.port) or self.process.poll() is not None, 'Exim', 20)
        finally:
            if self.process.poll() is not None:
                raise AssertionError('exim ended: ' + self.trouble())

    def trouble(self):
        text = ''
        for path in [os.path.join(self.path, 'out')] + glob.glob(os.path.join(self.path, 'log/*')):
            with open(path, errors='replace') as f:
                text += f.read()[-2000:]
        return text

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()
