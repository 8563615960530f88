# bash completion for pmtactl, made by 'pmtactl --completion bash' from its command table.

_pmtactl_pipes()
{
    pmtactl ${socket:+-s "$socket"} --timeout 2 --json show pipes 2>/dev/null |
        sed -n 's/.*"pipe":"\([^"]*\)".*/\1/p'
}

_pmtactl()
{
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}
    local typed="" options="--socket --json --timeout --help --version" operands=""
    local i socket=""

    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket) socket=${COMP_WORDS[++i]} ;;
        -s | --socket | --timeout | --pipe | --limit | --queue | --id | --job | --rcpt | --sender | --by | --since | --vmta | --mode | --reenable-after | --source | --day | --schedule | --target | --days | --phase | --max-msg-rate | --pool | --topic | --mail-from | --scope | --reason | --expires | --note | --config | --volume | --volumes | --start | --for | --latency | --connect-time | --accept-rate | --mx | --level | -n | --lines | --file | --count | --listener | --from) ((i++)) ;;
        -*) ;;
        *) typed+=${typed:+ }${COMP_WORDS[i]} ;;
        esac
    done

    case $prev in
    --pipe)
        COMPREPLY=($(compgen -W "$(_pmtactl_pipes)" -- "$cur"))
        return
        ;;
    -s | --socket)
        compopt -o filenames 2>/dev/null
        COMPREPLY=($(compgen -f -- "$cur"))
        return
        ;;
    -s | --socket | --timeout | --pipe | --limit | --queue | --id | --job | --rcpt | --sender | --by | --since | --vmta | --mode | --reenable-after | --source | --day | --schedule | --target | --days | --phase | --max-msg-rate | --pool | --topic | --mail-from | --scope | --reason | --expires | --note | --config | --volume | --volumes | --start | --for | --latency | --connect-time | --accept-rate | --mx | --level | -n | --lines | --file | --count | --listener | --from)
        return
        ;;
    esac

    case $typed in
    "")
        operands="status show stats classify verp why ledger pause resume warmup resume set schedule cancel set disable enable delete config check resolve suppress reload debug logs trace rotate shutdown simulate hash-password dkim version help"
        ;;
    "show")
        operands="pipes queues adaptive warmup limits jobs connections vmtas tls-report message actions events unclassified inbound"
        ;;
    "verp")
        operands="decode"
        ;;
    "pause")
        operands="pipe queue job"
        ;;
    "resume")
        operands="pipe queue job"
        ;;
    "warmup")
        operands="hold resume set-day plan"
        ;;
    "resume")
        operands="pipe queue job"
        ;;
    "set")
        operands="job queue"
        ;;
    "disable")
        operands="source"
        ;;
    "enable")
        operands="source"
        ;;
    "config")
        operands="explain"
        ;;
    "check")
        operands="sender spf"
        ;;
    "suppress")
        operands="add del find import export show"
        ;;
    "trace")
        operands="inbound"
        ;;
    "rotate")
        operands="log"
        ;;
    "status"*)
        options="--socket --json --timeout --help"
        ;;
    "show pipes"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show queues"*)
        options="--socket --json --timeout --help --pipe --limit --groups"
        ;;
    "show adaptive"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show warmup"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show limits"*)
        options="--socket --json --timeout --help --pipe --vmta"
        ;;
    "show jobs"*)
        options="--socket --json --timeout --help --pipe --limit"
        ;;
    "show connections"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show vmtas"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show tls-report"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show message"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show actions"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "show events"*)
        options="--socket --json --timeout --help"
        ;;
    "show unclassified"*)
        options="--socket --json --timeout --help --pipe --limit"
        ;;
    "show inbound"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "stats"*)
        options="--socket --json --timeout --help --pipe --limit --by --since"
        ;;
    "classify"*)
        options="--socket --json --timeout --help --pipe --phase"
        ;;
    "verp decode"*)
        options="--socket --json --timeout --help --pipe --rcpt"
        ;;
    "why"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "ledger"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "pause pipe"*)
        options="--socket --json --timeout --help"
        operands=$(_pmtactl_pipes)
        ;;
    "pause queue"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "pause job"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "resume pipe"*)
        options="--socket --json --timeout --help"
        operands=$(_pmtactl_pipes)
        ;;
    "resume queue"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "warmup hold"*)
        options="--socket --json --timeout --help --pipe --source"
        ;;
    "warmup resume"*)
        options="--socket --json --timeout --help --pipe --source"
        ;;
    "warmup set-day"*)
        options="--socket --json --timeout --help --pipe --source --day"
        ;;
    "warmup plan"*)
        options="--socket --json --timeout --help --pipe --schedule --target --days"
        ;;
    "resume job"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "set job"*)
        options="--socket --json --timeout --help --pipe --max-msg-rate"
        ;;
    "schedule"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "cancel"*)
        options="--socket --json --timeout --help"
        ;;
    "set queue"*)
        options="--socket --json --timeout --help --pipe --mode"
        ;;
    "disable source"*)
        options="--socket --json --timeout --help --pipe --reenable-after"
        ;;
    "enable source"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "delete"*)
        options="--socket --json --timeout --help --pipe --queue --id --job --rcpt --sender --dry-run"
        ;;
    "config explain"*)
        options="--socket --json --timeout --help --pipe --vmta"
        ;;
    "check sender"*)
        options="--socket --json --timeout --help --pipe --vmta --pool --topic --mail-from --private"
        ;;
    "check spf"*)
        options="--socket --json --timeout --help --pipe"
        ;;
    "resolve"*)
        options="--socket --json --timeout --help --pipe --connect --use-dane --use-mta-sts --vmta"
        ;;
    "suppress add"*)
        options="--socket --json --timeout --help --scope --reason --expires --note"
        ;;
    "suppress del"*)
        options="--socket --json --timeout --help --scope"
        ;;
    "suppress find"*)
        options="--socket --json --timeout --help"
        ;;
    "suppress import"*)
        options="--socket --json --timeout --help --scope --reason --expires --note --remove"
        ;;
    "suppress export"*)
        options="--socket --json --timeout --help"
        ;;
    "suppress show"*)
        options="--socket --json --timeout --help"
        ;;
    "reload"*)
        options="--socket --json --timeout --help"
        ;;
    "debug"*)
        options="--socket --json --timeout --help --pipe --queue --for"
        operands="all none main config ipc admin smtp-in spool queue limit delivery sign report dns tls"
        ;;
    "logs"*)
        options="--socket --json --timeout --help --pipe --queue --id --job --rcpt --sender --since --follow --level --lines --file"
        ;;
    "trace inbound"*)
        options="--socket --json --timeout --help --count --listener --from"
        ;;
    "trace"*)
        options="--socket --json --timeout --help --pipe --count --now"
        ;;
    "rotate log"*)
        options="--socket --json --timeout --help"
        ;;
    "shutdown"*)
        options="--socket --json --timeout --help"
        ;;
    "simulate"*)
        options="--socket --json --timeout --help --config --volume --volumes --start --for --latency --connect-time --accept-rate --mx"
        ;;
    "hash-password"*)
        options="--socket --json --timeout --help"
        ;;
    "dkim"*)
        options="--socket --json --timeout --help"
        ;;
    "version"*)
        options="--socket --json --timeout --help"
        ;;
    "help"*)
        options="--socket --json --timeout --help"
        operands="status show stats classify verp why ledger pause resume warmup resume set schedule cancel set disable enable delete config check resolve suppress reload debug logs trace rotate shutdown simulate hash-password dkim version help"
        ;;
    esac

    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$options" -- "$cur"))
    else
        COMPREPLY=($(compgen -W "$operands" -- "$cur"))
    fi
}

complete -F _pmtactl pmtactl
