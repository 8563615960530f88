/*
 * logs and trace: commands that print as things happen.
 */
#ifndef PMTA_CTL_LOGS_H
#define PMTA_CTL_LOGS_H

struct parsed;

/* Exit status of pmtactl. */
int logs_run(const struct parsed *p);
int trace_run(const struct parsed *p);

#endif
