"""Verifiers of DKIM signatures that are not ours: dkimpy, opendkim, and Mail::DKIM. Keys come from a
table of TXT records instead of the DNS."""
import os
import re
import subprocess

import dkim

PERL = r'''
use strict; use warnings; use Mail::DKIM::Verifier; use Mail::DKIM::DNS; use Mail::DKIM::PublicKey;
my %txt; open(my $k, '<', shift) or die; while (<$k>) { chomp; my ($n, $v) = split / /, $_, 2; $txt{lc $n} = $v; }
{ package FakeRR; sub new { bless {t => $_[1]}, $_[0] } sub type { 'TXT' } sub txtdata { $_[0]{t} } sub char_str_list { $_[0]{t} } }
no warnings 'redefine';
*Mail::DKIM::DNS::query = sub { my ($n, $t) = @_; $n = lc $n; $n =~ s/\.$//; return exists $txt{$n} ? (FakeRR->new($txt{$n})) : (); };
*Mail::DKIM::DNS::query_async = sub { my ($n, $t, %p) = @_; my @r = Mail::DKIM::DNS::query($n, $t);
    my $ret = $p{Callbacks}{Success} ? $p{Callbacks}{Success}->(@r) : @r; return sub { $ret }; };
while (my $f = <STDIN>) { chomp $f; open(my $m, '<:raw', $f) or die $f; my $v = Mail::DKIM::Verifier->new;
    local $/; $v->PRINT(<$m>); $v->CLOSE; local $/ = "\n";
    print join(' ', map { $_->algorithm . '=' . (split(' ', $_->result))[0] } $v->signatures), "\n"; }
'''


class Keys:
    """TXT records by name ("s._domainkey.example.com"), and the file of them that the others read."""

    def __init__(self, path, records):
        self.records = {k.lower(): v for k, v in records.items()}
        self.path = path
        with open(path, 'w') as f:
            for name, value in self.records.items():
                f.write(f'{name} {value}\n')

    def __call__(self, name, timeout=5):
        name = name.decode() if isinstance(name, bytes) else name
        value = self.records.get(name.rstrip('.').lower())
        return value.encode() if value else None


def dkimpy(message, keys, count):
    """True when each of the first `count` signatures is good."""
    d = dkim.DKIM(message, minkey=1024)
    try:
        return all(d.verify(idx=i, dnsfunc=keys) for i in range(count))
    except dkim.DKIMException:
        return False


def opendkim(files, keys):
    """{file: (signatures, of them good)}"""
    r = subprocess.run([os.environ['OPENDKIM_VERIFY'], keys.path], input=''.join(x + '\n' for x in files),
                       capture_output=True, text=True, check=True)
    return {f: tuple(int(x) for x in row.split()) for f, row in zip(files, r.stdout.splitlines())}


def opendkim_command(files, keys, conf):
    """{file: True or False} of the command itself, which sees the header as a milter does."""
    with open(conf, 'w') as f:
        f.write(f'TestPublicKeys {keys.path}\nMode v\nMinimumKeyBits 1024\nSyslog no\n')
    result = {}
    for at in range(0, len(files), 100):
        r = subprocess.run(['/usr/sbin/opendkim', '-x', conf, '-t', ','.join(files[at:at + 100]), '-v'],
                           capture_output=True, text=True, errors='replace')
        for path, verdict in re.findall(r'^opendkim: (\S+): (.*)$', r.stdout + r.stderr, re.M):
            if 'verification' in verdict:
                result[path] = 'succeeded' in verdict
    return result


def mail_dkim(files, keys, workdir):
    """{file: {algorithm: result}}"""
    script = os.path.join(workdir, 'verify.pl')
    with open(script, 'w') as f:
        f.write(PERL)
    r = subprocess.run(['perl', script, keys.path], input=''.join(x + '\n' for x in files),
                       capture_output=True, text=True, check=True)
    return {f: dict(x.split('=') for x in row.split()) for f, row in zip(files, r.stdout.splitlines())}
