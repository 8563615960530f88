#!/usr/bin/perl
# What two parsers that know nothing of this project read in a delivery notice: FILE… -> one JSON line each.
use strict;
use warnings;
use JSON::PP;
use Sisimai;
use Mail::DeliveryStatus::BounceParser;

my $json = JSON::PP->new->canonical->utf8;
for my $file (@ARGV) {
    my $bounces = Sisimai->make($file, delivered => 1) || [];
    my @sisimai = map { {
        rcpt   => $_->recipient->address,
        action => $_->action,
        status => $_->deliverystatus,
        reason => $_->reason,
        reply  => $_->replycode,
        said   => $_->diagnosticcode,
        from   => $_->addresser->address,
    } } @$bounces;
    open my $fh, '<', $file or die "$file: $!";
    my $text = do { local $/; <$fh> };
    my $bounce = eval { Mail::DeliveryStatus::BounceParser->new($text) };
    my @parser = map { {
        rcpt   => $_->get('email'),
        std    => $_->get('std_reason'),
        smtp   => $_->get('smtp_code'),
    } } $bounce ? $bounce->reports : ();
    print $json->encode({ file => $file, sisimai => \@sisimai, bounceparser => \@parser,
        is_bounce => $bounce && $bounce->is_bounce ? JSON::PP::true : JSON::PP::false }), "\n";
}
