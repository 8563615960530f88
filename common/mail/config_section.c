/*
 * A configuration of one section; see config_of_section in config.h. Tools ask it as processes ask
 * theirs, so that an option of the same name has the same forms, bounds and defaults.
 */
#include "mail/config_internal.h"

int config_of_section(const char *title, const struct config_setting *values, const char *where,
                      struct config **ret, struct err *e)
{
    struct config *cfg = config_new(1);
    const struct config_section *fault;
    struct config_section *s;
    struct config_origin old;
    int rc = config_add_section(cfg, sv_of(title), where, 0, &s, e);

    for (; rc == 0 && values->text; values++) {
        const struct directive_info *info = directive_info(values->directive);
        if (!(info->kinds & s->kinds))
            rc = err_set(e, ERR_CONFIG, "%s does not stand in [%s]", info->name, title);
        else
            rc =
                config_add_value(cfg, s, values->directive, sv_of(values->text), where, 0, &old, e);
    }
    if (rc == 0)
        rc = config_finish(cfg, &fault, e);
    if (rc < 0)
        config_unref(cfg);
    else
        *ret = cfg;
    return rc;
}
