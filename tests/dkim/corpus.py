"""Messages that are hard on canonical forms, generated: the same list each time for one seed."""
import random

WORDS = ['dinner', 'is', 'ready', 'Grüße', 'naïve', '日本語', 'x' * 60, 'a.b', '.', '..', 'From', '=', ';', ':']


def words(r, low, high, ascii_only=False):
    pool = [w for w in WORDS if w.isascii()] if ascii_only else WORDS
    return [r.choice(pool) for _ in range(r.randint(low, high))]


def blanks(r):
    return r.choice([' ', ' ', ' ', '  ', '\t', ' \t ', '    '])


def folded(r, parts):
    """Words with blanks and folds of all sorts between them."""
    text = parts[0] if parts else ''
    for part in parts[1:]:
        text += r.choice([' ', ' ', '  ', '\t', '\r\n ', '\r\n\t', '  \r\n   ', ' \r\n\t\t']) + part
    return text


def field(r, name, value):
    return r.choice([name, name, name.upper(), name.lower()]) + ':' + r.choice([' ', ' ', '', '  ', '\t']) + \
        value + r.choice(['', '', '', ' ', '\t ']) + '\r\n'


def header(r, n, domain):
    rows = [field(r, 'From', folded(r, ['"Joe', 'Doe"', f'<joe@{domain}>']))]
    if n % 11:
        rows.append(field(r, 'To', folded(r, [f'a{i}@example.net,' for i in range(r.randint(1, 30))] + ['z@example.net'])))
    if n % 7:
        rows.append(field(r, 'Subject', folded(r, words(r, 1, 12))))
    if n % 5:
        rows.append(field(r, 'Date', 'Sat, 21 Nov 2026 07:28:33 +0000'))
    if n % 3:
        rows.append(field(r, 'Message-ID', f'<{n}.{r.randint(1, 10**9)}@{domain}>'))
    if n % 13 == 0:
        rows.append(field(r, 'Sender', f'bounces@{domain}'))
    if n % 4 == 0:
        rows += [field(r, 'X-Repeated', folded(r, words(r, 0, 5))) for _ in range(r.randint(2, 5))]
    if n % 6 == 0:
        rows += [field(r, 'Comments', ''), field(r, 'Comments', folded(r, words(r, 1, 3)))]
    if n % 9 == 0:
        rows.append(field(r, 'X-Long', 'y' * 900))
    if n % 10 == 0:
        rows.append(field(r, 'List-Unsubscribe', '<mailto:u@example.org>,\r\n <https://example.org/u?' + 'k' * 400 + '>'))
    if n % 8 == 0:
        rows.append(field(r, 'MIME-Version', '1.0'))
        rows.append(field(r, 'Content-Type', 'text/plain;\r\n\tcharset="utf-8"'))
    first, rest = rows[0], rows[1:]
    r.shuffle(rest)
    place = r.randint(0, len(rest))
    return 'Received: from here\r\n\tby there\r\n' + ''.join(rest[:place] + [first] + rest[place:])


def line(r):
    kind = r.randint(0, 11)
    if kind == 0:
        return ''
    if kind == 1:
        return r.choice([' ', '\t', '   \t  '])
    if kind == 2:
        return '.' * r.randint(1, 3) + r.choice(['', ' ', 'x', ' x'])
    if kind == 3:
        return 'z' * r.choice([76, 997, 998, 1024, 1025])
    if kind == 4:
        return 'From the start of a line'
    text = ''
    for w in words(r, 1, 12):
        text += w + blanks(r)
    return text if kind < 7 else text.strip()


def body(r, n):
    kind = n % 15
    if kind == 0:
        return b''
    if kind == 1:
        return b'\r\n' * r.randint(1, 5)
    if kind == 2:
        return b' \t \r\n \r\n'
    if kind == 3:
        return b'one line\r\n'
    if kind == 4:
        return b'.\r\n..\r\n. \r\n'
    if kind == 5:
        return bytes(r.choice([b for b in range(1, 256) if b not in (10, 13)]) for _ in range(3000)) + b'\r\n'
    lines = [line(r) for _ in range(r.choice([1, 3, 20, 200]))]
    text = '\r\n'.join(lines).encode() + b'\r\n'
    return text + b'\r\n' * r.choice([0, 0, 1, 3, 700]) + r.choice([b'', b'', b'  \r\n\r\n', b'\t\r\n'])


def messages(count, domain, seed=4):
    """Message number n as bytes."""
    for n in range(count):
        r = random.Random(seed * 100003 + n)
        yield header(r, n, domain).encode() + b'\r\n' + body(r, n)
