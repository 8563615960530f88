/*
 * pmtactl: the operator's hand on a running pmtad. One command is one line over the admin socket;
 * the answer is JSON objects, which are printed as they are (--json) or rendered by the command's
 * function. Standard output is the answer, standard error what went wrong, the exit status 0 done,
 * 1 refused or failed, 2 usage or no connection.
 *
 * What can go wrong on the way: no socket, silence, a line too long, a line that is no JSON object,
 * an end before the end line. Each is one line; what had come until then is still shown.
 */
#include "client.h"
#include "command.h"
#include "dkim.h"
#include "render.h"
#include "simulate.h"

#include <stdio.h>

enum { EXIT_OK = 0, EXIT_REFUSED = 1, EXIT_USAGE = 2 };
enum { OBJECTS_MAX = 2000000 };

/* "pmtactl: text", every line of it. */
static void complain(const char *process, const char *text)
{
    struct strview rest = sv_of(text), one;

    while (sv_split(&rest, '\n', &one)) {
        struct buf clean = {0};
        char *copy = xstrndup(one.ptr, one.len);
        page_clean(&clean, copy);
        if (one.len)
            fprintf(stderr, "pmtactl: %s%s%s\n", process, *process ? ": " : "", buf_data(&clean));
        free(copy);
        buf_free(&clean);
    }
}

/* --- the answer --- */

static void take_end(struct answer *a, const json_t *o)
{
    const char *error = field_text(o, "error");

    a->ended = true;
    a->ok = json_is_true(json_object_get(o, "ok"));
    a->end_error = error && *error ? xstrdup(error) : NULL;
}

/* Where one process is enough (config explain without --pipe), the first that answers. */
static bool one_is_enough(const struct answer *a)
{
    enum admin_verb v = a->parsed->command->verb;
    return v == VERB_CONFIG_EXPLAIN || v == VERB_RESOLVE || v == VERB_CHECK_SPF;
}

static bool is_wanted(const struct answer *a, const json_t *o)
{
    if (!one_is_enough(a) || parsed_has(a->parsed, OPT_PIPE) || !json_array_size(a->objects))
        return true;
    return json_equal(json_object_get(o, "process"),
                      json_object_get(json_array_get(a->objects, 0), "process"));
}

static int take_line(struct answer *a, struct strview line, struct err *e)
{
    json_error_t trouble;
    json_t *o = json_loadb(line.ptr, line.len, 0, &trouble);

    if (!json_is_object(o)) {
        json_decref(o);
        return err_set(e, ERR_PROTOCOL, "pmtad sent a line that is no JSON object: '%.*s'%s",
                       (int)MIN_OF(line.len, (size_t)60), line.ptr, line.len > 60 ? "..." : "");
    }
    if (json_is_true(json_object_get(o, "end"))) {
        take_end(a, o);
    } else if (is_wanted(a, o)) {
        if (parsed_has(a->parsed, OPT_JSON))
            printf("%.*s\n", SV_ARG(line));
        json_array_append(field_text(o, "error") ? a->errors : a->objects, o);
    }
    json_decref(o);
    return json_array_size(a->objects) + json_array_size(a->errors) > OBJECTS_MAX
               ? err_set(e, ERR_LIMIT, "pmtad sent more than %d objects", OBJECTS_MAX)
               : 0;
}

static int receive(struct client *c, struct answer *a, struct err *e)
{
    struct strview line;

    while (!a->ended) {
        int rc = client_line(c, &line, e);
        if (rc == 0)
            return err_set(e, ERR_CLOSED, "pmtad closed the connection before its answer ended");
        if (rc > 0 && sv_trim(line).len)
            rc = take_line(a, line, e);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The processes that gave the same error as number `first`, joined; "" when it is another's again.
 */
static void error_processes(const json_t *errors, size_t first, struct buf *out)
{
    const char *text = field_text(json_array_get(errors, first), "error");
    size_t i;
    json_t *o;

    json_array_foreach(errors, i, o)
    {
        const char *process = field_text(o, "process");
        if (strcmp(field_text(o, "error"), text) != 0)
            continue;
        if (i < first) {
            buf_reset(out);
            return;
        }
        buf_printf(out, "%s%s", buf_len(out) ? ", " : "", process ? process : "pmtad");
    }
}

static int show_errors(const struct answer *a)
{
    size_t i, shown = 0;
    json_t *o;
    bool has_one = one_is_enough(a) && json_array_size(a->objects);

    json_array_foreach(a->errors, i, o)
    {
        struct buf who = {0};
        error_processes(a->errors, i, &who);
        if (buf_len(&who) && !has_one) {
            complain(strcmp(buf_data(&who), "root") == 0 ? "" : buf_data(&who),
                     field_text(o, "error"));
            shown++;
        }
        buf_free(&who);
    }
    if (a->ended && !a->ok && (a->end_error || !shown)) {
        complain("", a->end_error ? a->end_error : "refused");
        shown++;
    }
    return shown ? EXIT_REFUSED : EXIT_OK;
}

static void show_page(const struct answer *a)
{
    struct page page;

    page_init(&page);
    a->parsed->command->render(a, &page);
    fwrite(buf_data(&page.out), 1, buf_len(&page.out), stdout);
    buf_free(&page.out);
}

/* --- one command --- */

/* Asks, shows what came, and says what went wrong. */
static int converse(struct client *c, const struct parsed *p, struct strview request)
{
    struct answer a = {.parsed = p, .objects = json_array(), .errors = json_array()};
    struct err e = {0}, verdict = {0};
    int rc = client_send(c, request, &e);

    if (rc == 0)
        rc = receive(c, &a, &e);
    if (rc == ERR_CLOSED && p->command->verb == VERB_SHUTDOWN && !json_array_size(a.errors)) {
        a.ended = a.ok = true; /* it went away, as it was told */
        rc = 0;
    }
    if (!parsed_has(p, OPT_JSON))
        show_page(&a);
    fflush(stdout);
    int status = show_errors(&a);
    if (answer_check(&a, &verdict)) {
        complain("", verdict.text);
        status = EXIT_REFUSED;
    }
    if (rc < 0) {
        complain("", e.text);
        status = EXIT_REFUSED;
    }
    json_decref(a.objects);
    json_decref(a.errors);
    free(a.end_error);
    return status;
}

static int ask(const struct parsed *p)
{
    struct client c;
    struct buf request = {0};
    struct err e = {0};
    int status = EXIT_USAGE;

    if (command_request(p, &request, &e) < 0) {
        complain("", e.text);
    } else if (client_open(&c, p, &e) < 0) {
        complain("", e.text);
    } else {
        status = converse(&c, p, buf_view(&request));
        client_close(&c);
    }
    buf_free(&request);
    return status;
}

static int print_made(void (*make)(struct buf *out))
{
    struct buf out = {0};

    make(&out);
    fputs(buf_data(&out), stdout);
    buf_free(&out);
    return EXIT_OK;
}

static int run(const struct parsed *p)
{
    struct buf out = {0};

    if (parsed_has(p, OPT_HELP) && p->command) {
        help_command(p->command, &out);
        fputs(buf_data(&out), stdout);
        buf_free(&out);
        return EXIT_OK;
    }
    if (parsed_has(p, OPT_HELP))
        return print_made(help_overview);
    if (parsed_has(p, OPT_VERSION)) {
        puts("pmtactl " PMTA_VERSION);
        return EXIT_OK;
    }
    if (!p->command) {
        help_overview(&out);
        fputs(buf_data(&out), stderr);
        buf_free(&out);
        return EXIT_USAGE;
    }
    return p->command->run ? p->command->run(p) : ask(p);
}

int main(int argc, char **argv)
{
    struct parsed p;
    struct err e = {0};
    int status = EXIT_USAGE;

    if (argc == 3 && strcmp(argv[1], "--completion") == 0 && strcmp(argv[2], "bash") == 0)
        return print_made(completion_bash);
    if (simulate_wanted(argc, argv))
        return simulate_exec(argc, argv);
    char *check[] = {argv[0],
                     (char[]){"check"},
                     (char[]){"sender"},
                     (char[]){"--topic"},
                     (char[]){"dkim"},
                     argc > 3 ? argv[3] : NULL,
                     NULL};
    if (argc > 2 && strcmp(argv[1], "dkim") == 0 && strcmp(argv[2], "check") == 0 && argc <= 4) {
        argc = argc > 3 ? 6 : 5; /* a daemon answers this one: it has the keys and the DNS */
        argv = check;
    } else if (argc > 2 && strcmp(argv[1], "dkim") == 0) {
        return dkim_exec(argv + 1);
    }
    if (command_parse(argc, argv, &p, &e) < 0)
        complain("", e.text);
    else
        status = run(&p);
    parsed_free(&p);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        complain("", "cannot write to standard output");
        status = status ? status : EXIT_REFUSED;
    }
    return status;
}
