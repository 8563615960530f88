/*
 * Reports by HTTPS POST; see post.h. Called by main.c for frames of pipes. A post lives until its
 * answer has come, its owner is gone or all are closed.
 */
#include "post.h"

#include "base/buf.h"

#include <stdio.h>

struct posts {
    struct https_pool *https;
    struct list all;
    post_cb cb;
    bool in_lab;
};

struct post {
    struct list link;
    struct posts *posts;
    struct https *https;
    void *owner;
    uint64_t token;
};

static bool is_host(struct strview s)
{
    bool has_letter = false;

    for (size_t i = 0; i < s.len; i++) {
        if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && !memchr("-._", s.ptr[i], 3))
            return false;
        has_letter |= ascii_is_alpha(s.ptr[i]);
    }
    return has_letter && s.len < DOMAIN_SIZE; /* without one it is an address, or means one */
}

bool post_url_parse(const char *url, char ret_host[DOMAIN_SIZE], uint16_t *ret_port,
                    const char **ret_path)
{
    static const char scheme[] = "https://";
    struct strview all = sv_of(url);
    uint64_t port = 443;

    if (!sv_starts_nocase(all, sv_of(scheme)))
        return false;
    const char *host = url + sizeof(scheme) - 1;
    struct strview name = sv(host, strcspn(host, "/?#"));
    *ret_path = host + name.len;
    for (const char *c = *ret_path; *c; c++)
        if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f || strchr("#\"<>\\^`{|}", *c))
            return false;
    ptrdiff_t colon = sv_find(name, ':');
    if (colon >= 0) {
        if (!sv_to_u64(sv(name.ptr + colon + 1, name.len - (size_t)colon - 1), &port) || !port ||
            port > 65535)
            return false;
        name.len = (size_t)colon;
    }
    if (!is_host(name) || **ret_path == '?')
        return false;
    if (!**ret_path)
        *ret_path = "/";
    memcpy(ret_host, name.ptr, name.len);
    ret_host[name.len] = '\0';
    *ret_port = (uint16_t)port;
    return true;
}

static void post_free(struct post *p)
{
    list_remove(&p->link);
    free(p);
}

static void on_answer(void *arg, const struct https_answer *a)
{
    struct post *p = arg;
    char text[200] = "";

    /* what is in the answer does not matter, nor that it is long */
    if (a->trouble != HTTPS_OK)
        snprintf(text, sizeof(text), "%s", a->text);
    else if (a->status < 200 || a->status > 299)
        snprintf(text, sizeof(text), "HTTP status %ld", a->status);
    p->posts->cb(p->owner, p->token, a->trouble == HTTPS_OK ? (unsigned)a->status : 0, text);
    post_free(p);
}

static size_t count_of(const struct posts *p, const void *owner)
{
    size_t n = 0;

    list_for_each (l, &p->all)
        n += list_entry(l, const struct post, link)->owner == owner;
    return n;
}

int posts_start(struct posts *p, void *owner, uint64_t token, const char *url,
                const char *content_type, struct strview body, struct err *e)
{
    struct https_ask ask = {
        .max_bytes = POST_MAX_ANSWER,
        .content_type = content_type,
        .body = body,
        .public_only = !p->in_lab,
    };
    char host[DOMAIN_SIZE];

    if (!post_url_parse(url, host, &ask.port, &ask.path))
        return err_set(e, ERR_SYNTAX, "not an https address of a host");
    if (body.len > POST_MAX_BYTES)
        return err_set(e, ERR_LIMIT, "more than %d bytes", POST_MAX_BYTES);
    if (count_of(p, owner) >= POST_MAX_WAITING)
        return err_set(e, ERR_LIMIT, "too many posts wait");
    struct post *one = xcalloc(1, sizeof(*one));
    ask.host = host;
    *one = (struct post){.posts = p, .owner = owner, .token = token};
    list_init(&one->link);
    if (https_start(p->https, &ask, on_answer, one, &one->https) < 0) {
        post_free(one);
        return err_set(e, ERR_LIMIT, "the address is too long");
    }
    list_push_back(&p->all, &one->link);
    return 0;
}

void posts_forget(struct posts *p, const void *owner)
{
    list_for_each_safe (l, &p->all) {
        struct post *one = list_entry(l, struct post, link);
        if (one->owner != owner)
            continue;
        https_cancel(one->https);
        post_free(one);
    }
}

struct posts *posts_new(uv_loop_t *loop, struct lookups *lookups, post_cb cb)
{
    struct posts *p = xcalloc(1, sizeof(*p));

    p->https = https_pool_new(loop, lookups, POST_MAX);
    p->cb = cb;
    list_init(&p->all);
    return p;
}

void posts_configure(struct posts *p, const char *ca_file)
{
    p->in_lab = ca_file && ca_file[0];
    https_pool_configure(p->https, ca_file);
}

void posts_close(struct posts *p)
{
    if (!p)
        return;
    https_pool_close(p->https);
    while (!list_empty(&p->all))
        post_free(list_entry(list_first(&p->all), struct post, link));
    free(p);
}
