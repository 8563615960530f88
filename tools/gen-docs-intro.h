/*
 * What docs/directives.md and pmta.conf(5) say before the directives. Included by gen-docs.c alone.
 * Text between backquotes is set as code in both.
 */
#ifndef PMTA_TOOLS_GEN_DOCS_INTRO_H
#define PMTA_TOOLS_GEN_DOCS_INTRO_H

#include "mail/config.h"
#include "mail/reply_rule.h"

#include <stddef.h>

enum block_type { BLOCK_HEADING, BLOCK_TEXT, BLOCK_CODE };

struct block {
    enum block_type type;
    const char *text;
};

static const struct block intro[] = {
    {BLOCK_HEADING, "Files"},
    {BLOCK_TEXT,
     "The configuration is a directory; `pmtad -c` names it. Its files that end in `.conf` are "
     "read in the order of their names; names "
     "that begin with a dot are left out. `pmtad --check` reads and checks everything and "
     "starts nothing. A reload reads all files again; when anything is wrong nothing "
     "changes, and each problem is reported with its file and line."},
    {BLOCK_CODE, "[pmta]\n"
                 "default-pipe = bulk\n"
                 "\n"
                 "[virtual-mta mta1]\n"
                 "smtp-source-host = 192.0.2.55 out1.example.com\n"
                 "\n"
                 "[virtual-mta mta1, domain gmail.com]   ; narrower scope\n"
                 "max-smtp-out = 5\n"},
    {BLOCK_TEXT,
     "Each line is empty, a comment, a section header in brackets, or `NAME = VALUE`. White "
     "space around names and values does not count. A line may be 64 KiB long. Names of "
     "directives and sections are the same in upper and lower case, except for the names "
     "of smtp-users."},
    {BLOCK_HEADING, "Comments and quotes"},
    {BLOCK_TEXT,
     "A line that begins with `#` or `;` is a comment. After a value a comment begins with "
     "` #`, because `;` separates hosts in `smtp-hosts`; after a section header with ` #` or "
     "` ;`. A value may stand in double quotes, in which `#` is an ordinary character and a "
     "backslash takes the character after it as it is."},
    {BLOCK_TEXT,
     "A directive without a default may be set to `\"\"`: then it counts as not set here, "
     "whatever a wider scope says. For a directive that may be repeated, `\"\"` also drops "
     "the values before it in the same section."},
    {BLOCK_HEADING, "Sections"},
    {BLOCK_TEXT,
     "A section header is one or more pairs of kind and name. `[pmta]`, which has no name, "
     "holds what is global. The kinds `virtual-mta`, `virtual-mta-pool`, `pipe` and `domain` "
     "may stand together, separated by commas; then the section applies where all of them "
     "do. A section may be opened more than once; a directive that is set twice in one "
     "section is warned about, and the later value counts, unless it may be repeated."},
    {BLOCK_TEXT,
     "A domain is written `example.com`, `*.example.com` (everything below it), "
     "`[*.]example.com` (it and everything below it) or `*` (every domain). A source is "
     "an address, a network such as `10.0.0.0/8` or `2001:db8::/32`, or a name that a "
     "listener or smtp-user refers to. A listener's name is a label; without `address` "
     "it is itself the address and port to listen on."},
    {BLOCK_HEADING, "Which value counts"},
    {BLOCK_TEXT,
     "The scope decides first: virtual MTA, then virtual MTA pool, then pipe, then sections "
     "without any of them. Between sections of one scope the closer domain pattern wins: "
     "the exact name, the exact name by a macro, the longest `*.suffix`, `*`, and last the "
     "section without a domain. Between equals the later one wins. For a client, its "
     "smtp-user comes before its source (of networks, the longest prefix that sets the "
     "directive), that before its listener, and that before `[pmta]`. "
     "`pmtactl config explain` shows each value with its file and line and what it "
     "overrode."},
    {BLOCK_TEXT,
     "A directive marked *total* bounds the sum over all queues when it stands on a pipe, "
     "virtual MTA or pool alone, and each queue when it stands with a domain or in "
     "`[pmta]`."},
    {BLOCK_HEADING, "Domain macros"},
    {BLOCK_CODE, "[domain-macro microsoft]\n"
                 "domains = hotmail.com, outlook.com, live.com\n"
                 "\n"
                 "[domain $microsoft]\n"
                 "max-smtp-out = 10\n"},
    {BLOCK_TEXT,
     "`$NAME` in a domain pattern stands for each item of the macro; the name is letters, "
     "digits and underscores. Items may be parts of a name (`yahoo.$tld` with `domains = "
     "com, co.uk`) or refer to other macros, up to 16 deep. Several macros in one pattern "
     "are multiplied out, to at most 10,000 patterns. A domain that is written out beats "
     "one that comes from a macro."},
    {BLOCK_HEADING, "Include"},
    {BLOCK_TEXT,
     "`include = FILE` reads another file at this place; the name is relative to the file "
     "that it stands in and may have wildcards, which are read in the order of names. The "
     "included file begins in the section of the line that includes it; after it that "
     "section goes on, whatever sections the file has opened. A file may be included in "
     "several places, but not by itself, and the `.conf` files of the configuration "
     "directory, which are read anyway, may not be included: call the others `.inc`, or "
     "keep them in a directory below."},
    {BLOCK_HEADING, "Overrides"},
    {BLOCK_TEXT,
     "`-o SECTION.DIRECTIVE=VALUE` on the command line sets one value as if a last file said "
     "so, for example `-o pmta.run-dir=/tmp/run` or `-o 'listener smtp.address=[::1]:2525'`. "
     "It stays in force through reloads."},
    {BLOCK_HEADING, "Values"},
    {BLOCK_TEXT,
     "An interval is a sum of numbers with `w`, `d`, `h`, `m`, `s` or `ms`: `4d12h`. A size "
     "takes `k`, `M`, `G` or `T`, powers of 1024: `250M`. A rate is `600/h`, `83/5s` or "
     "`unlimited`; of data it is `12M/m`. A yes-or-no value is `yes`, `no`, `true` or `false`. A "
     "path that does not begin with `/` is below the configuration directory."},
    {BLOCK_TEXT,
     "Times between attempts are a list, of which the last repeats (`10m,10m,1h`), or grow: "
     "`5m x2 max 4h` waits 5, 10, 20 … minutes, and never more than 4 hours; `x1.5` is slower. "
     "Messages per day are a list, one item for each day (`50/d, 100/d, 200/d`), or grow: "
     "`50/d +10%/d`."},
    {BLOCK_TEXT,
     "Source addresses are one address, a network (`192.0.2.0/28`: all its addresses) or a range "
     "(`192.168.1.101-150`, `192.0.2.250-192.0.3.5`, `2001:db8::10-1f`), at most 4096. `%i` in the "
     "host name behind them stands for the address with hyphens, so that each address has a name "
     "of its own: `192.0.2.0/28 out-%i.example.com` gives `out-192-0-2-1.example.com` and so on; "
     "an "
     "IPv6 address has all its digits. A member of a pool is a name, or a name and a weight of "
     "1 to 1000: `mta1 3`."},
    {BLOCK_HEADING, "Reply rules"},
    {BLOCK_CODE, "[smtp-pattern-list common]\n"
                 "reply = /421 .* too many connections/ mode=backoff\n"
                 "reply = /mailbox is full/ phase=rcpt|end-of-data retry-after=4h\n"
                 "\n"
                 "[domain *]\n"
                 "smtp-pattern-list = common\n"},
    {BLOCK_TEXT,
     "A rule is a Perl-compatible regular expression between slashes, then the phases of the "
     "dialogue that it looks at (all when none is named), then actions separated by commas. The "
     "first rule that matches counts. Upper and lower case are the same unless the expression "
     "says `(?-i)`. A slash inside it is written `\\/`; `#`, `;` and quotes are ordinary "
     "characters there. `//` matches every reply. A rule may be 2000 bytes long. The actions:"},
#define ACTION_LINE(id, text, help) {BLOCK_TEXT, "`" text "`: " help "."},
    REPLY_ACTIONS(ACTION_LINE)
#undef ACTION_LINE
};

/* One line for each kind of section. */
static const struct {
    enum config_kind kind;
    const char *title, *text;
} groups[] = {
    {KIND_PMTA, "[pmta]",
     "The process as a whole, and what holds everywhere unless a narrower "
     "section says otherwise."},
    {KIND_LISTENER, "[listener NAME]", "An address on which mail is taken."},
    {KIND_SOURCE, "[source NAME]",
     "What clients from an address, a network, or a named source may do. "
     "A client that no source applies to may not relay."},
    {KIND_SOURCE_GROUP, "[source-group NAME]",
     "What sources that say `source-group = NAME` have in common; all of them together count "
     "against `max-smtp-in` of the group."},
    {KIND_SMTP_USER, "[smtp-user NAME]", "A client that authenticates."},
    {KIND_PIPE, "[pipe NAME]", "A traffic class: a process with a spool and queues of its own."},
    {KIND_VIRTUAL_MTA, "[virtual-mta NAME]", "An identity that mail is sent with."},
    {KIND_VIRTUAL_MTA_POOL, "[virtual-mta-pool NAME]",
     "Several virtual MTAs that are used in turn."},
    {KIND_DOMAIN, "[domain PATTERN]",
     "Outgoing queues by recipient domain; these directives may "
     "stand in every section of a queue's scope."},
    {KIND_DOMAIN_MACRO, "[domain-macro NAME]", "A list of domains with a name."},
    {KIND_MX_ROLLUP, "[mx-rollup NAME]",
     "Domains whose mail the same hosts take, in one queue, `NAME.rollup`."},
    {KIND_SMTP_PATTERN_LIST, "[smtp-pattern-list NAME]", "What replies of other hosts make us do."},
    {KIND_BOUNCE_CATEGORY_PATTERNS, "[bounce-category-patterns]",
     "Which category (`bounceCat` in accounting) a failed attempt belongs to. Rules in "
     "`[bounce-category-patterns shipped]`, which come with the program, are tried after these."},
    {KIND_ACCT_FILE, "[acct-file PATH]",
     "What came of each message, as files: `NAME-PIPE-DATE-NNNN.csv` in the directory of PATH. "
     "Without such a section there is `acct-PIPE.csv` in `acct-dir`."},
    {KIND_BOUNCE_PROCESSOR, "[bounce-processor NAME]",
     "Inbound addresses at which failure reports arrive; what they say becomes rb and rs records."},
    {KIND_FEEDBACK_LOOP_PROCESSOR, "[feedback-loop-processor NAME]",
     "Inbound addresses at which complaints arrive; what they say becomes f records."},
    {KIND_EVENT_SINK, "[event-sink NAME]",
     "Where accounting records are sent as they are written, at least once and in order per pipe; "
     "mail never waits for it."},
    {KIND_HTTP_LISTENER, "[http-listener NAME]", "An address on which `pmta-web` answers HTTP."},
};

#endif
